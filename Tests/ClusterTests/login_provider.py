"""A provider of logins for tests: authorization code with PKCE, pushed requests, refresh tokens that rotate, logout."""

import base64
import hashlib
import json
import secrets
import urllib.parse
from http.server import BaseHTTPRequestHandler

import requests

from provider import Provider

EVENT = "http://schemas.openid.net/event/backchannel-logout"


class LoginProvider(Provider):
    """Knows one client, `gateway`, and logs `ann` in after a click; once she is logged in, without one.

    It is strict: what a request lacks is in `faults`, and the request is refused. `lifetime` is that of access tokens in
    seconds, `refreshes` counts the tokens that were given for refresh tokens.
    """

    secret = "the-secret-of-the-client"

    def __init__(self, authority, redirect_uri="", after_logout="", lifetime=3600, **options):
        self.redirect_uri, self.after_logout, self.lifetime = redirect_uri, after_logout, lifetime
        self.pushed, self.codes, self.refresh_tokens, self.dead = {}, {}, {}, set()
        self.refreshes, self.faults, self.claims, self.logouts = 0, [], {}, 0
        super().__init__(authority, **options)
        self.document |= {
            "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token",
            "pushed_authorization_request_endpoint": f"{self.issuer}/par", "end_session_endpoint": f"{self.issuer}/logout",
            "require_pushed_authorization_requests": True, "authorization_response_iss_parameter_supported": True,
        }

    def fault(self, text):
        self.faults.append(text)
        return 400, {"error": "invalid_request", "error_description": text}, {}

    # Each answers a request with status, body and fields.

    def push(self, form, headers):
        if not self.knows(headers):
            return 401, {"error": "invalid_client"}, {}
        wanted = {"response_type": "code", "client_id": "gateway", "redirect_uri": self.redirect_uri, "code_challenge_method": "S256"}
        for name, value in wanted.items():
            if form.get(name) != value:
                return self.fault(f"{name} is {form.get(name)}")
        if "openid" not in form.get("scope", "").split() or len(form.get("state", "")) < 22 or len(form.get("nonce", "")) < 22:
            return self.fault("scope, state or nonce")
        if len(form.get("code_challenge", "")) != 43:
            return self.fault("code_challenge")
        name = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe()}"
        self.pushed[name] = form
        return 201, {"request_uri": name, "expires_in": 60}, {}

    def authorize(self, form, headers):
        if set(form) != {"client_id", "request_uri"} or form["request_uri"] not in self.pushed:
            return self.fault("the request was not pushed")
        if "sso=ann" not in (headers.get("Cookie") or ""):
            link = f"/approve?request_uri={urllib.parse.quote(form['request_uri'], safe='')}"
            return 200, f"<title>provider</title><a id=login href='{link}'>log in as ann</a>", {}
        return self.approve(form, headers)

    def approve(self, form, headers):
        asked = self.pushed.pop(form["request_uri"])
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        query = urllib.parse.urlencode({"code": code, "state": asked["state"], "iss": self.issuer})
        return 302, "", {"Location": f"{self.redirect_uri}?{query}", "Set-Cookie": "sso=ann; Path=/; HttpOnly; Secure"}

    def give(self, form, headers):
        if not self.knows(headers):
            return 401, {"error": "invalid_client"}, {}
        if form.get("grant_type") == "authorization_code":
            asked = self.codes.pop(form.get("code"), None)
            if not asked or form.get("redirect_uri") != self.redirect_uri:
                return self.fault("code or redirect_uri")
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
                return self.fault("code_verifier")
            family, nonce = secrets.token_hex(8), {"nonce": asked["nonce"]}
        else:
            family, is_used = self.refresh_tokens.get(form.get("refresh_token"), (None, True))
            if is_used and family:
                self.dead.add(family)
            if is_used or family in self.dead:
                return 400, {"error": "invalid_grant"}, {}
            self.refresh_tokens[form["refresh_token"]] = (family, True)
            self.refreshes += 1
            nonce = {}
        access, refresh = secrets.token_urlsafe(), "refresh-" + secrets.token_urlsafe()
        self.refresh_tokens[refresh] = (family, False)
        half = hashlib.sha256(access.encode()).digest()[:16]
        at_hash = base64.urlsafe_b64encode(half).decode().rstrip("=")
        token = self.token("ann", aud="gateway", sid=f"sid-{family}", at_hash=at_hash, **nonce, **self.claims)
        return 200, {
            "access_token": access, "token_type": "Bearer", "expires_in": self.lifetime, "refresh_token": refresh, "id_token": token,
        }, {}

    def end(self, form, headers):
        if form.get("client_id") != "gateway" or form.get("post_logout_redirect_uri") != self.after_logout:
            return self.fault("post_logout_redirect_uri")
        self.logouts += 1
        return 302, "", {"Location": self.after_logout, "Set-Cookie": "sso=; Path=/; Max-Age=0; Secure"}

    def knows(self, headers):
        wanted = base64.b64encode(f"gateway:{self.secret}".encode()).decode()
        return headers.get("Authorization") == f"Basic {wanted}"

    def sessions(self):
        return [f"sid-{family}" for family, is_used in self.refresh_tokens.values() if not is_used]

    def tell(self, url, **claims):
        """Sends a logout token to the gateway; returns the answer."""
        said = {"events": {EVENT: {}}, "jti": secrets.token_hex(8), **claims}
        token = self.token(said.pop("sub", None), aud="gateway", headers={"typ": "logout+jwt"}, **said)
        return requests.post(url, data={"logout_token": token}, timeout=10, verify=False)

    def handler(provider):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                known = {
                    "/.well-known/openid-configuration": lambda *_: (200, provider.document, {}),
                    "/keys": lambda *_: (200, provider.key_set(), {}),
                    "/authorize": provider.authorize, "/approve": provider.approve, "/logout": provider.end,
                    "/page": lambda form, _: (200, f"<title>elsewhere</title><img src='{form.get('image')}'>", {}),
                }
                self.answer(url.path, known, url.query)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                self.answer(self.path, {"/par": provider.push, "/token": provider.give}, body)

            def answer(self, path, known, form):
                provider.asked[path] = provider.asked.get(path, 0) + 1
                pairs = urllib.parse.parse_qsl(form, keep_blank_values=True)
                if not provider.is_up or path not in known:
                    status, body, fields = (404 if provider.is_up else 503), {}, {}
                elif len(dict(pairs)) != len(pairs):
                    status, body, fields = provider.fault("a parameter is there twice")
                else:
                    status, body, fields = known[path](dict(pairs), self.headers)
                text = body if isinstance(body, str) else json.dumps(body)
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
                self.send_header("Content-Length", str(len(text.encode())))
                for name, value in fields.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments):
                pass

        return Handler
