"""Tokens for upstreams: the gateway's own, exchanged ones, and signed ones that say who calls. The authorization server is
Authlib's, over TLS; PyJWT verifies what the gateway signs by the keys that it publishes."""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey, RSAKey

from certificates import Authority
from provider import Provider, fresh_key
from support import ask, ok, route, until
from test_facts import CONSUMERS, STATIC, Nodes
from test_jwt import call, protected
from token_server import SECRET, TokenServer


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def provider(authority):
    made = Provider(authority)
    yield made
    made.close()


@pytest.fixture
def tokens(authority, provider):
    made = TokenServer(authority, provider)
    yield made
    made.close()


def asking(authority, tokens, kind="client-credentials", client=None, **options):
    """A policy that gets tokens from the server."""
    known = {} if "key" in options else {"clientSecret": SECRET}
    return {"type": kind, "tokenEndpoint": tokens.url, "clientId": client or tokens.client("gw:1"), **known,
            "ca": {"file": str(authority.certificate)}, **options}


def bearers(up):
    return [request.get("Authorization") for request in up.requests]


# --- The gateway's own tokens ------------------------------------------------------------------------------------------


def test_requests_share_the_gateways_own_token(gateway, origin, authority, tokens):
    up = origin()
    tokens.delay = 0.3
    g = gateway(up, routes=[route(policies=[asking(authority, tokens, scopes=["a", "b"], audience="orders")])])
    with ThreadPoolExecutor(16) as pool:
        assert {status for status, *_ in pool.map(lambda _: call(g.port, "the-clients-own"), range(64))} == {200}
    assert len(tokens.asked) == 1 and set(bearers(up)) == {"Bearer own-0"}
    assert tokens.asked[0] == {"grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["orders"]}
    assert "own-0" not in g.output.read_text() + g.errors.read_text(), "a token is in a log"


@pytest.mark.parametrize("way", ["basic", "post", "RS256", "ES256"])
def test_the_gateway_shows_who_it_is(gateway, origin, authority, tokens, tmp_path, way):
    up = origin()
    if way in ("basic", "post"):
        options = {"client": tokens.client("a:ä b", f"client_secret_{way}"), "authentication": way}
    else:
        key = fresh_key(way)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        file = tmp_path / "client.key"
        file.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        known = {"RS256": RSAKey, "ES256": ECKey}[way].import_key(public)
        options = {"client": tokens.client("signer", "client_assertion_jwt", known),
                   "authentication": "private-key", "key": {"file": str(file)}}
    g = gateway(up, routes=[route(policies=[asking(authority, tokens, **options)])])
    assert call(g.port)[0] == 200 and bearers(up) == ["Bearer own-0"]


def test_a_token_is_renewed_while_requests_go_on(gateway, origin, authority, tokens):
    up = origin()
    tokens.lifetime = 8
    g = gateway(up, routes=[route(policies=[asking(authority, tokens)])])
    assert call(g.port)[0] == 200
    # From now on nobody may wait: an answer takes longer than a request may here.
    tokens.delay = 0.6
    end, slowest = time.monotonic() + 15, 0
    while time.monotonic() < end:
        began = time.monotonic()
        assert call(g.port)[0] == 200
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.05)
    assert len(set(bearers(up))) >= 3 and len(tokens.asked) <= 4
    assert slowest < 0.6, "somebody has waited for the token"


def test_a_server_that_is_down_is_left_alone_and_found_again(gateway, origin, authority, tokens):
    up = origin()
    tokens.is_up = False
    g = gateway(up, routes=[route(policies=[asking(authority, tokens)])])
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        status, code, answer = call(g.port, "the-clients-own")
        assert (status, code) == (503, "upstream-token-unavailable") and int(answer.get("Retry-After")) >= 1
    assert not up.requests and len(tokens.asked) <= 3
    tokens.is_up = True
    until(lambda: call(g.port)[0] == 200, "there is a token once the server is back", seconds=15)
    assert "no token from" in g.errors.read_text() and SECRET not in g.errors.read_text()


def test_an_upstream_that_refuses_the_token_has_it_replaced(gateway, origin, authority, tokens):
    good = {"Bearer own-0", "Bearer own-1"}

    def handler(stream, request):
        stream.send(ok() if request.get("Authorization") in good else ok(status="401 Unauthorized"))

    up = origin(handler)
    g = gateway(up, routes=[route(policies=[asking(authority, tokens)])])
    assert call(g.port)[0] == 200
    good.discard("Bearer own-0")
    # It is new, and so is not to blame.
    assert [call(g.port)[0] for _ in range(5)] == [401] * 5 and len(tokens.asked) == 1
    time.sleep(10.5)
    assert call(g.port)[0] == 401
    assert call(g.port)[0] == 200 and len(tokens.asked) == 2


# --- Exchanged tokens --------------------------------------------------------------------------------------------------


def exchanging(authority, provider, tokens, **options):
    return protected(
        authority, provider, more=[asking(authority, tokens, "token-exchange", **options)], optional=True)


def test_callers_tokens_are_exchanged(gateway, origin, authority, provider, tokens):
    up = origin()
    tokens.delay = 0.2
    g = gateway(up, routes=[exchanging(authority, provider, tokens, resource="https://orders.example")])
    assert call(g.port)[:2] == (401, "authentication-required")
    assert call(g.port, "x.y.z")[:2] == (401, "token-invalid")
    assert not tokens.asked
    ann, bob = provider.token("ann"), provider.token("bob")
    with ThreadPoolExecutor(16) as pool:
        assert {status for status, *_ in pool.map(lambda n: call(g.port, [ann, bob][n % 2]), range(64))} == {200}
    assert len(tokens.asked) == 2 and len(set(bearers(up))) == 2
    assert {bearer.split("-")[0] for bearer in bearers(up)} == {"Bearer ann", "Bearer bob"}
    form = tokens.asked[0]
    assert form["subject_token"][0] in (ann, bob) and form["resource"] == ["https://orders.example"]
    assert all(ann not in str(request.fields) for request in up.requests), "the caller's own token has gone on"


def test_callers_whom_the_server_refuses_are_refused(gateway, origin, authority, provider, tokens):
    up = origin()
    g = gateway(up, routes=[exchanging(authority, provider, tokens)])
    tokens.banned.add("eve")
    eve = provider.token("eve")
    status, code, answer = call(g.port, eve)
    assert (status, code) == (401, "token-untrusted") and 'error="invalid_token"' in answer.get("WWW-Authenticate")
    assert call(g.port, eve)[0] == 401 and len(tokens.asked) == 1
    ann = provider.token("ann")
    assert call(g.port, ann)[0] == 200
    tokens.is_up = False
    assert call(g.port, provider.token("bob"))[:2] == (503, "upstream-token-unavailable")
    # Whose token has been exchanged before does not notice.
    assert call(g.port, ann)[0] == 200
    assert bearers(up) == ["Bearer ann-0"] * 2


# --- Who calls ---------------------------------------------------------------------------------------------------------


def test_upstreams_verify_who_calls_by_the_published_keys_of_any_node(tmp_path, redis, origin, authority, provider):
    up = origin()
    named = {"type": "identity-token", "issuer": "https://gw.example", "audience": "orders", "claims": {"mail": "email"}}
    routes = [
        route("keys", "/.well-known/jwks.json", policies=[{"type": "jwks"}]),
        route("open", "/open", policies=[named]), route("keyed", "/keyed", policies=[{"type": "api-key"}, named]),
        protected(authority, provider, "/*", more=[named]),
    ]
    c = Nodes(tmp_path, redis(), up, count=2, routes=routes)
    try:
        answers = [ask(node.port, path="/.well-known/jwks.json") for node in c.nodes]
        assert answers[0].body == answers[1].body
        assert answers[0].get("Content-Type") == "application/jwk-set+json" and answers[0].get("Cache-Control") == "max-age=300"
        assert ask(c.nodes[0].port, "HEAD", "/.well-known/jwks.json").status == 200
        assert ask(c.nodes[0].port, "POST", "/.well-known/jwks.json", body=b"x").status == 405
        keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.loads(answers[0].body)).keys}

        def said(node, path, token=None, **fields):
            assert call(node.port, token, path, **fields)[0] == 200
            shown = up.requests[-1].values("X-Identity-Token")
            if not shown:
                return None
            assert len(shown) == 1
            key = keys[jwt.get_unverified_header(shown[0])["kid"]]
            return jwt.decode(shown[0], key, algorithms=["EdDSA"], audience="orders", issuer="https://gw.example", leeway=1)

        forged = {"X-Identity-Token": "forged"}
        for node in c.nodes:
            assert said(node, "/open", **forged) is None
            ann = said(node, "/a", provider.token("ann", email="ann@example.com", scope="read"), **forged)
            assert ann["sub"] == "ann" and ann["idp"] == provider.issuer and ann["scope"] == "read"
            assert ann["mail"] == "ann@example.com" and 0 < ann["exp"] - time.time() <= 61
            app = said(node, "/keyed", **{"X-API-Key": STATIC})
            assert app["sub"] == app["consumer"] == CONSUMERS[0]["id"] and app["tenant"] == "acme" and app["groups"] == ["gold"]
        assert hashlib.sha256(STATIC.encode()).hexdigest() not in str(app)
    finally:
        c.close()
