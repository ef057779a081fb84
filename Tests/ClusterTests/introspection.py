"""An introspection server for tests: Authlib's endpoint (RFC 7662) behind TLS, with tokens that nobody can read."""

import json
import secrets
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

CLIENT, SECRET = "gate:way", "s3cret + ü%"


class Request(OAuth2Request):
    def __init__(self, method, uri, form, headers):
        super().__init__(method, uri, headers=headers)
        self.fields = form

    @property
    def form(self):
        return self.fields


class Gateway:
    """The one client that may ask."""

    def check_client_secret(self, secret):
        return secrets.compare_digest(secret.encode(), SECRET.encode())

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_basic" and endpoint == "introspection"


class Token:
    def __init__(self, seconds, claims):
        self.expires_at, self.claims, self.was_revoked = int(time.time()) + seconds, claims, False

    def is_expired(self):
        return self.expires_at <= time.time()

    def is_revoked(self):
        return self.was_revoked


class Endpoint(IntrospectionEndpoint):
    def query_token(self, token, hint):
        return self.server.tokens.get(token)

    def check_permission(self, token, client, request):
        return True

    def introspect_token(self, token):
        return {"token_type": "Bearer", "exp": token.expires_at, **token.claims}


class Authorization(AuthorizationServer):
    def __init__(self):
        super().__init__()
        self.tokens = {}

    def query_client(self, client_id):
        return Gateway() if client_id == CLIENT else None


class Introspection:
    """A server on a port of its own. `asked` has the token of every question; `delay` keeps each waiting, `broken` is an
    answer (status, type, body) in place of all others."""

    def __init__(self, authority, host="localhost"):
        self.authorization = Authorization()
        self.endpoint = Endpoint(self.authorization)
        self.asked, self.delay, self.broken = [], 0, None
        self.authority, self.host = authority, host
        self.certificate = tuple(map(str, authority.issue(f"introspection-{id(self)}", f"DNS:{host}")))
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"https://{self.host}:{self.port}/introspect"

    def start(self):
        self.server = Server(("127.0.0.1", self.port), self.handler())
        self.port = self.server.server_port
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Whoever connects now is refused; `start` has it back on the same port."""
        self.server.shutdown()
        self.server.server_close()

    close = stop

    def handler(introspection):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_POST(self):
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = dict(urllib.parse.parse_qsl(text, strict_parsing=True))
                introspection.asked.append(form.get("token"))
                time.sleep(introspection.delay)
                status, fields, body = introspection.answer(self.command, self.path, form, dict(self.headers.items()))
                self.send_response(status)
                for name, value in fields:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        return Handler

    def answer(self, method, path, form, headers):
        if self.broken:
            status, kind, body = self.broken
            return status, [("Content-Type", kind)], body
        request = Request(method, f"https://{self.host}{path}", form, headers)
        try:
            status, body, fields = self.endpoint.create_endpoint_response(request)
        except OAuth2Error as error:
            status, body, fields = error()
        return status, fields, json.dumps(body).encode()

    def token(self, subject="ann", seconds=60, **claims):
        """A fresh token; a claim that is None is left out."""
        text = secrets.token_urlsafe(24)
        said = {"sub": subject, "aud": "orders", "iss": f"https://{self.host}:{self.port}", **claims}
        said = {claim: value for claim, value in said.items() if value is not None}
        self.authorization.tokens[text] = Token(seconds, said)
        return text

    def revoke(self, token):
        self.authorization.tokens[token].was_revoked = True

    def count(self, token):
        return self.asked.count(token)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def handle_error(self, request, address):
        pass
