"""An identity provider for tests: discovery and keys over TLS, and tokens that PyJWT signs."""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


def fresh_key(algorithm):
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        return ec.generate_private_key({"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[algorithm]())
    return rsa.generate_private_key(65537, 2048)


class Provider:
    """An issuer on a port of its own. `asked` counts requests by path; `is_up` False makes it answer 503."""

    def __init__(self, authority, algorithm="RS256", host="localhost"):
        self.keys, self.asked, self.is_up, self.delay = {}, {}, True, 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, authority.issue(f"provider-{id(self)}", f"DNS:{host}")))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.issuer = f"https://{host}:{self.server.server_port}"
        self.document = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        self.rotate("one", algorithm)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def handler(provider):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                provider.asked[self.path] = provider.asked.get(self.path, 0) + 1
                time.sleep(provider.delay)
                found = {"/.well-known/openid-configuration": lambda: provider.document, "/keys": provider.key_set}.get(self.path)
                status = 503 if not provider.is_up else 200 if found else 404
                body = json.dumps(found()).encode() if status == 200 else b"{}"
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        return Handler

    def rotate(self, name, algorithm="RS256", keeps=False):
        """Signs with a key of this name from now on; the others go unless it `keeps` them."""
        kept = self.keys if keeps else {}
        self.keys = {**kept, name: (algorithm, fresh_key(algorithm))}
        self.name = name

    def key_set(self):
        keys = []
        for name, (algorithm, key) in self.keys.items():
            known = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
            keys.append({"use": "sig", "alg": algorithm, **known, "kid": name})
        return {"keys": keys}

    def token(self, subject="ann", name=None, seconds=60, headers=None, **claims):
        """A token for the audience `orders`; a claim that is None is left out."""
        algorithm, key = self.keys[name or self.name]
        now = int(time.time())
        said = {"iss": self.issuer, "aud": "orders", "sub": subject, "iat": now, "exp": now + seconds, **claims}
        said = {claim: value for claim, value in said.items() if value is not None}
        return jwt.encode(said, key, algorithm, headers={"kid": name or self.name, **(headers or {})})

    def fetches(self, path="/keys"):
        return self.asked.get(path, 0)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
