"""An authorization server on two nodes of a cluster, for clients as they are: Authlib and requests-oauthlib."""

import base64
import hashlib
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as Authlib
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey
from requests_oauthlib import OAuth2Session as Oauthlib

from support import Gateway, ask, configuration, free_port, route, until
from test_facts import SECRET, Nodes

ISSUER = "https://id.example/oauth2"
API = "https://api.example"
CALLBACK = "https://app.example/callback"
REVOKED = (401, "token-revoked")


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def fresh_key():
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


class Servers(Nodes):
    """Two nodes that are one authorization server, and an API behind them that takes its tokens."""

    def __init__(self, folder, redis, up, more_routes=(), **options):
        ports = [free_port(), free_port()]
        self.private, public = fresh_key()
        clients = [
            {"id": "web", "name": "The app", "sha256": digest("secret of web"), "scopes": ["openid", "read", "write"],
             "grants": ["authorization_code", "refresh_token"], "redirectURIs": [CALLBACK]},
            {"id": "native", "grants": ["authorization_code", "refresh_token"], "scopes": ["read"],
             "redirectURIs": ["http://127.0.0.1/back"]},
            {"id": "worker", "sha256": digest("secret of worker"), "grants": ["client_credentials"], "scopes": ["read"]},
            {"id": "signer", "publicKey": public, "grants": ["client_credentials"], "scopes": ["read"]},
            {"id": "tv", "name": "The TV", "grants": ["device_code", "refresh_token"], "scopes": ["read"]},
            {"id": "api", "sha256": digest("secret of api"), "grants": ["client_credentials"], "introspects": True},
        ]
        server = {"type": "oauth2-server", "issuer": ISSUER, "audience": API, "clients": clients, **options}
        keys = {"url": f"http://127.0.0.1:{ports[0]}/oauth2/jwks"}
        issuer = {"issuer": ISSUER, "audiences": [API], "types": ["at+jwt"], "jwks": keys}
        self.routes = [
            {"id": "login", "match": {"path": "/oauth2/authorize"},
             "policies": [{"type": "api-key", "optional": True}, server]},
            {"id": "device", "match": {"path": "/oauth2/device"},
             "policies": [{"type": "api-key", "optional": True}, server]},
            {"id": "oauth2", "match": {"path": "/oauth2/*"}, "policies": [server]},
            {"id": "metadata", "match": {"path": "/.well-known/oauth-authorization-server/*"}, "policies": [server]},
            route("api", "/api/*", policies=[
                {"type": "jwt", "issuers": [issuer], "scopes": ["read"], "headers": {"X-User": "sub"}}]),
            *more_routes,
        ]
        self.redis, self.up, self.nodes = redis, up, []
        users = [{"id": name, "groups": ["gold"], "keys": [{"id": "k", "sha256": digest(f"key of {name}")}]}
                 for name in ("ann", "bob")]
        for number, port in enumerate(ports):
            home = folder / f"node-{number + 1}"
            home.mkdir()
            content = configuration(
                up, routes=self.routes, node={"name": f"node-{number + 1}", "state": str(home / "state")},
                store=redis.url, cluster={"name": "test", "secret": SECRET}, consumers=users)
            self.nodes.append(Gateway(home, content, port=port))
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            until(lambda: node.is_ready(), f"a node is ready: {node.said()}")
        self.until_members(2)
        # Each is asked for its keys before its ports are open, and again a second later.
        until(lambda: all(self.keys_of(node) for node in self.nodes), "all nodes have the keys")

    @staticmethod
    def keys_of(node):
        return [issuer["keys"] for issuer in ask(node.admin, path="/v1/status").json()["issuers"] if issuer["keys"]]

    def url(self, node, path):
        return f"http://127.0.0.1:{self.nodes[node].port}{path}"

    def browse(self, url, user="ann"):
        """Where a browser is sent in which somebody is logged in."""
        headers = {"X-API-Key": f"key of {user}"} if user else {}
        answer = requests.get(url, headers=headers, allow_redirects=False, timeout=10)
        return answer.status_code, answer.headers.get("Location", ""), answer

    def authlib(self, client="web", **more):
        return Authlib(client, f"secret of {client}", scope="read write", redirect_uri=CALLBACK,
                       code_challenge_method="S256", **more)

    def log_in(self, session, user="ann", nodes=(0, 1), **more):
        """Tokens for a user, with the code from one node and the tokens from another."""
        verifier = secrets.token_urlsafe(48)
        url, _ = session.create_authorization_url(self.url(nodes[0], "/oauth2/authorize"), code_verifier=verifier, **more)
        status, location, answer = self.browse(url, user)
        assert status == 303 and parse_qs(urlsplit(location).query)["iss"] == [ISSUER], answer.text
        tokens = session.fetch_token(
            self.url(nodes[1], "/oauth2/token"), authorization_response=location, code_verifier=verifier)
        return tokens, location, verifier

    def api_call(self, token, node=0):
        answer = requests.get(self.url(node, "/api/"), headers={"Authorization": f"Bearer {token}"}, timeout=10)
        code = answer.json()["type"].rsplit(":", 1)[1] if answer.status_code != 200 else None
        return answer.status_code, code

    def form(self, path, client, node=0, **fields):
        return requests.post(self.url(node, path), data=fields, auth=(client, f"secret of {client}"), timeout=10)

    def is_active(self, token, node=0):
        return self.form("/oauth2/introspect", "api", node, token=token).json()["active"]


@pytest.fixture
def servers(tmp_path, redis, origin, monkeypatch):
    # Both libraries ask for https, which nodes on this machine do without.
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    made = []

    def start(**options):
        made.append(Servers(tmp_path, redis(), origin(), **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


def claims(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def test_nobody_gets_a_token_without_proof(servers):
    s = servers()
    for node in (0, 1):
        wrong = requests.post(s.url(node, "/oauth2/token"), data={"grant_type": "client_credentials"},
                              auth=("worker", "wrong"), timeout=10)
        assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
        assert wrong.headers["WWW-Authenticate"].startswith("Basic")
    session = s.authlib()
    url, _ = session.create_authorization_url(s.url(0, "/oauth2/authorize"), code_verifier=secrets.token_urlsafe(48))
    assert s.browse(url, user=None)[0] == 401
    evil = url.replace("app.example", "app.example.evil.example")
    assert s.browse(evil)[:2] == (400, "")
    assert parse_qs(urlsplit(s.browse(url.replace("S256", "plain"))[1]).query)["error"] == ["invalid_request"]
    assert s.api_call("a.b.c") == (401, "token-invalid")


def test_a_client_acts_for_itself(servers):
    s = servers()
    session = Authlib("worker", "secret of worker", scope="read")
    for node in (0, 1):
        token = session.fetch_token(s.url(node, "/oauth2/token"), grant_type="client_credentials")
        assert token["expires_in"] == 300 and "refresh_token" not in token
        until(lambda: s.api_call(token["access_token"], 1 - node) == (200, None), "the API knows the keys", 20)
    assert s.up.requests[-1].get("X-User") == "worker" and s.up.requests[-1].get("Authorization") is None


def test_a_client_proves_itself_by_a_key(servers):
    s = servers()
    session = Authlib("signer", ECKey.import_key(s.private), token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(PrivateKeyJWT(ISSUER, alg="ES256"))
    token = session.fetch_token(s.url(0, "/oauth2/token"), grant_type="client_credentials")
    assert claims(token["access_token"])["client_id"] == "signer"
    assertion = PrivateKeyJWT(alg="ES256").sign(session, f"{ISSUER}/token")
    form = {"grant_type": "client_credentials", "client_assertion": assertion,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    found = [requests.post(s.url(node, "/oauth2/token"), data=form, timeout=10).status_code for node in (0, 1, 0)]
    assert found == [200, 401, 401], "an assertion is good once in the cluster"


def test_a_user_grants_and_any_node_goes_on(servers):
    s = servers()
    session = s.authlib()
    tokens, _, _ = s.log_in(session)
    said = claims(tokens["access_token"])
    assert said["sub"] == "ann" and said["aud"] == API and said["groups"] == ["gold"] and said["sid"]
    until(lambda: s.api_call(tokens["access_token"]) == (200, None), "the API knows the keys", 20)
    for node in (0, 1, 0, 1):
        tokens = session.refresh_token(s.url(node, "/oauth2/token"), refresh_token=tokens["refresh_token"])
        assert claims(tokens["access_token"])["sid"] == said["sid"]
        assert s.api_call(tokens["access_token"], 1 - node) == (200, None)
    shown = s.form("/oauth2/introspect", "api", 1, token=tokens["access_token"]).json()
    assert shown["active"] and shown["sub"] == "ann" and shown["client_id"] == "web"
    assert s.form("/oauth2/introspect", "worker", 1, token=tokens["access_token"]).json() == {"active": False}


def test_requests_oauthlib_logs_in_without_a_secret(servers):
    s = servers()
    session = Oauthlib("native", redirect_uri="http://127.0.0.1:51004/back", scope=["read"], pkce="S256")
    url, _ = session.authorization_url(s.url(0, "/oauth2/authorize"))
    _, location, _ = s.browse(url, "bob")
    assert location.startswith("http://127.0.0.1:51004/back?code=")
    token = session.fetch_token(s.url(1, "/oauth2/token"), authorization_response=location, include_client_id=True)
    assert claims(token["access_token"])["sub"] == "bob"
    again = session.refresh_token(s.url(0, "/oauth2/token"), client_id="native")
    assert again["refresh_token"] != token["refresh_token"]


def test_a_code_that_is_used_twice_ends_the_session_on_all_nodes(servers):
    s = servers()
    tokens, location, verifier = s.log_in(s.authlib())
    until(lambda: s.api_call(tokens["access_token"]) == (200, None), "the API knows the keys", 20)
    code = parse_qs(urlsplit(location).query)["code"][0]
    again = s.form("/oauth2/token", "web", 0, grant_type="authorization_code", code=code, redirect_uri=CALLBACK,
                   code_verifier=verifier)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    for node in (0, 1):
        until(lambda: s.api_call(tokens["access_token"], node) == REVOKED, "the session is revoked", 5)
        late = s.form("/oauth2/token", "web", node, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        assert late.json()["error"] == "invalid_grant"


def test_a_stolen_refresh_token_ends_the_session_on_all_nodes(servers):
    s = servers()
    session = s.authlib()
    first, _, _ = s.log_in(session)
    second = session.refresh_token(s.url(0, "/oauth2/token"), refresh_token=first["refresh_token"])
    bystander, _, _ = s.log_in(s.authlib())
    until(lambda: s.api_call(second["access_token"]) == (200, None), "the API knows the keys", 20)
    began = time.monotonic()
    stolen = s.form("/oauth2/token", "web", 1, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    # The store says so at once, whatever nodes have heard by then.
    late = s.form("/oauth2/token", "web", 0, grant_type="refresh_token", refresh_token=second["refresh_token"])
    assert late.json()["error"] == "invalid_grant"
    for node in (0, 1):
        until(lambda: s.api_call(second["access_token"], node) == REVOKED, "the session is revoked", 5)
        assert not s.is_active(second["access_token"], node) and s.is_active(bystander["access_token"], node)
    assert time.monotonic() - began < 5
    assert s.api_call(bystander["access_token"]) == (200, None)


def test_two_nodes_never_take_one_refresh_token_both(servers):
    s = servers()
    tokens, _, _ = s.log_in(s.authlib())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: s.form(
            "/oauth2/token", "web", number % 2, grant_type="refresh_token",
            refresh_token=tokens["refresh_token"]).status_code, range(8)))
    assert sorted(found) == [200] + [400] * 7


def test_what_is_revoked_is_no_good_any_more(servers):
    s = servers()
    session = s.authlib()
    tokens, _, _ = s.log_in(session)
    until(lambda: s.api_call(tokens["access_token"]) == (200, None), "the API knows the keys", 20)
    assert session.revoke_token(s.url(0, "/oauth2/revoke"), token=tokens["access_token"]).status_code == 200
    until(lambda: s.api_call(tokens["access_token"], 1) == REVOKED, "the token is revoked", 5)
    later = session.refresh_token(s.url(1, "/oauth2/token"), refresh_token=tokens["refresh_token"])
    assert session.revoke_token(s.url(1, "/oauth2/revoke"), token=later["refresh_token"]).status_code == 200
    until(lambda: s.api_call(later["access_token"], 0) == REVOKED, "the session is revoked", 5)
    assert s.form("/oauth2/revoke", "web", token="nobody's").status_code == 200
    # The operators' way leads to the same.
    other, _, _ = s.log_in(s.authlib())
    done = s.verb("revoke", "--session", claims(other["access_token"])["sid"], "--reason", "test", "--wait")
    assert done.returncode == 0, done
    refused = s.form("/oauth2/token", "web", 1, grant_type="refresh_token", refresh_token=other["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"


def test_what_is_revoked_while_the_store_is_away_is_revoked_once_it_is_back(servers):
    s = servers()
    tokens, _, _ = s.log_in(s.authlib())
    until(lambda: s.api_call(tokens["access_token"], 1) == (200, None), "the API knows the keys", 20)
    s.redis.pause()
    try:
        assert s.form("/oauth2/revoke", "web", token=tokens["access_token"]).status_code == 200
        # Longer than one attempt may take: the first has failed, and those behind it.
        time.sleep(4)
        assert s.api_call(tokens["access_token"], 1)[0] == 200
    finally:
        s.redis.resume()
    until(lambda: s.api_call(tokens["access_token"], 1) == REVOKED, "the token is revoked on the other node", 10)
    assert not s.is_active(tokens["access_token"], 1)


def test_a_user_is_asked_for_consent(servers):
    s = servers(consent=True)
    verifier = secrets.token_urlsafe(48)
    session = s.authlib()
    url, _ = session.create_authorization_url(s.url(0, "/oauth2/authorize"), code_verifier=verifier)
    status, _, page = s.browse(url)
    assert status == 200 and "The app" in page.text and "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    form = page.text.split('name="consent" value="')[1].split('"')[0]

    def decide(user, decision, node):
        return requests.post(s.url(node, "/oauth2/authorize"), data={"consent": form, "decision": decision},
                             headers={"X-API-Key": f"key of {user}"}, allow_redirects=False, timeout=10)

    assert decide("bob", "allow", 0).status_code == 403
    assert "error=access_denied" in decide("ann", "deny", 1).headers["Location"]
    location = decide("ann", "allow", 1).headers["Location"]
    tokens = session.fetch_token(s.url(0, "/oauth2/token"), authorization_response=location, code_verifier=verifier)
    assert claims(tokens["access_token"])["sub"] == "ann"


def test_what_is_offered_is_found(servers):
    s = servers()
    for node in (0, 1):
        found = requests.get(s.url(node, "/.well-known/oauth-authorization-server/oauth2"), timeout=10).json()
        assert found["issuer"] == ISSUER and found["code_challenge_methods_supported"] == ["S256"]
    keys = [requests.get(s.url(node, "/oauth2/jwks"), timeout=10).json()["keys"] for node in (0, 1)]
    assert keys[0] == keys[1] and len(keys[0]) == 3 and all("d" not in key for key in keys[0])
