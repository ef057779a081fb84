"""An authorization server for tests: Authlib and Flask over TLS. It gives tokens to clients, and exchanges those of others."""

import logging
import ssl
import threading
import time

import jwt
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import BaseGrant, ClientCredentialsGrant, TokenEndpointMixin
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask, request
from werkzeug.serving import make_server

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
SECRET = "p w:%+ü"


class Client(ClientMixin):
    """A client that may do everything, and shows who it is in one way."""

    def __init__(self, method, key=None):
        self.method, self.key = method, key

    def check_client_secret(self, secret):
        return secret == SECRET

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.method

    def check_grant_type(self, grant):
        return True

    def get_allowed_scope(self, scope):
        return scope


class Assertion(JWTBearerClientAssertion):
    """private_key_jwt; no assertion is taken twice."""

    def __init__(self, server):
        super().__init__()
        self.server, self.seen = server, set()

    def get_audiences(self):
        return [self.server.url]

    def validate_jti(self, claims, jti):
        is_first = jti not in self.seen
        self.seen.add(jti)
        return is_first

    def resolve_client_public_key(self, client):
        return client.key


class OwnTokens(ClientCredentialsGrant):
    """Tokens of clients themselves, however they show who they are."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", Assertion.CLIENT_AUTH_METHOD]


class TokenServer:
    """A server on a port of its own. `asked` has every request's form; `is_up` False makes it answer 503.

    It exchanges tokens of `provider`, but for those of `banned` subjects. Tokens are good for `lifetime` seconds.
    """

    def __init__(self, authority, provider=None, host="localhost"):
        self.asked, self.issued, self.banned = [], [], set()
        self.is_up, self.delay, self.lifetime = True, 0, 3600
        self.provider, self.clients = provider, {}
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, authority.issue(f"tokens-{id(self)}", f"DNS:{host}")))
        app = Flask("token-server")
        oauth = AuthorizationServer(app, query_client=self.clients.get, save_token=lambda token, request: None)
        oauth.register_token_generator("default", self.generate)
        oauth.register_grant(OwnTokens)
        oauth.register_grant(self.exchange_grant())
        oauth.register_client_auth_method(Assertion.CLIENT_AUTH_METHOD, Assertion(self))

        @app.post("/token")
        def token():
            self.asked.append(request.form.to_dict(flat=False))
            time.sleep(self.delay)
            return oauth.create_token_response() if self.is_up else ("", 503)

        self.server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=context)
        self.url = f"https://{host}:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def client(self, name, method="client_secret_basic", key=None):
        """Makes a client known; returns its name."""
        self.clients[name] = Client(method, key)
        return name

    def generate(self, grant_type, client, user=None, scope=None, expires_in=None, include_refresh_token=True):
        token = f"{user or 'own'}-{len(self.issued)}"
        self.issued.append(token)
        made = {"token_type": "Bearer", "access_token": token, "expires_in": self.lifetime}
        return {**made, "issued_token_type": ACCESS_TOKEN} if user else made

    def exchange_grant(server):
        class TokenExchangeGrant(BaseGrant, TokenEndpointMixin):
            GRANT_TYPE = EXCHANGE
            TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

            def validate_token_request(self):
                client = self.authenticate_token_endpoint_client()
                if not client.check_grant_type(self.GRANT_TYPE):
                    raise UnauthorizedClientError()
                self.request.client = client
                form = self.request.form
                if form.get("subject_token_type") != ACCESS_TOKEN:
                    raise InvalidRequestError("what kind of token is it?")
                keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(server.provider.key_set()).keys}
                try:
                    name = jwt.get_unverified_header(form["subject_token"])["kid"]
                    claims = jwt.decode(
                        form["subject_token"], keys[name], algorithms=[keys[name].algorithm_name], audience="orders")
                except (jwt.PyJWTError, KeyError):
                    raise InvalidRequestError("the subject token is not good")
                if claims["sub"] in server.banned:
                    raise InvalidGrantError("this subject is banned")
                self.request.user = claims["sub"]

            def create_token_response(self):
                token = self.generate_token(user=self.request.user, include_refresh_token=False)
                return 200, token, self.TOKEN_RESPONSE_HEADER

        return TokenExchangeGrant

    def close(self):
        self.server.shutdown()
        self.server.server_close()
