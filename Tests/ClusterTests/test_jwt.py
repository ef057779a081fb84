"""Callers known by tokens: a provider of its own over TLS, tokens of PyJWT, what a cluster takes back, and who may call."""

import base64
import hashlib
import re
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from certificates import Authority
from provider import Provider
from support import ask, free_port, route, sluice, until
from test_facts import Nodes


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def provider(authority):
    made = []

    def start(**options):
        made.append(Provider(authority, **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


def protected(authority, provider, path="/*", name="protected", more=(), **options):
    """A route for callers with tokens of a provider that is found by discovery."""
    issuer = {"issuer": provider.issuer, "audiences": ["orders"], "ca": {"file": str(authority.certificate)}}
    return route(name, path, policies=[{"type": "jwt", "issuers": [issuer], **options}, *more])


def call(port, token=None, path="/", **fields):
    """Status, problem code and the whole answer."""
    headers = [*([("Authorization", f"Bearer {token}")] if token else []), *fields.items()]
    answer = ask(port, path=path, headers=headers)
    code = re.search(rb"urn:sluice:problem:([a-z-]+)", answer.body)
    return answer.status, code[1].decode() if code else None, answer


def test_a_route_is_protected_by_an_issuers_url_alone(gateway, origin, authority, provider):
    p, up = provider(), origin()
    g = gateway(up, routes=[protected(authority, p, headers={"X-User": "sub"})])
    status, code, answer = call(g.port)
    assert (status, code) == (401, "token-missing") and answer.get("WWW-Authenticate") == 'Bearer realm="sluice"'
    assert call(g.port, p.token(iss="https://elsewhere"))[:2] == (401, "token-untrusted")
    assert call(g.port, p.token(aud="users"))[:2] == (401, "token-untrusted")
    assert call(g.port, p.token(seconds=-60))[:2] == (401, "token-expired")
    assert not up.requests
    assert call(g.port, p.token("ann"), **{"X-User": "root"})[0] == 200
    seen = up.requests[-1]
    assert seen.get("X-User") == "ann" and seen.get("Authorization") is None
    line = until(lambda: [e for e in g.log() if e.get("subject") == "ann"], "the log names the subject")[0]
    assert line["status"] == 200
    assert "eyJ" not in g.output.read_text() + g.errors.read_text(), "a token is in a log"


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"])
def test_tokens_of_every_algorithm(gateway, origin, authority, provider, algorithm):
    p = provider(algorithm=algorithm)
    g = gateway(origin(), routes=[protected(authority, p)])
    good = p.token()
    assert call(g.port, good)[0] == 200
    head, body, signature = good.split(".")
    assert call(g.port, f"{head}.{body}.{'A' * len(signature)}")[:2] == (401, "token-invalid")


def test_keys_roll_over_while_requests_flow(gateway, origin, authority, provider):
    p = provider()
    g = gateway(origin(), routes=[protected(authority, p)])
    assert call(g.port, p.token())[0] == 200
    p.rotate("two", "ES256", keeps=True)
    # The keys are seconds old: the issuer is not asked again before they are half a minute.
    assert call(g.port, p.token(name="two"))[:2] == (401, "token-untrusted")
    assert call(g.port, p.token(name="one"))[0] == 200 and p.fetches() == 1
    time.sleep(31)
    # All of them wait for one answer, and none is refused.
    with ThreadPoolExecutor(8) as pool:
        assert {status for status, *_ in pool.map(lambda _: call(g.port, p.token(name="two")), range(32))} == {200}
    assert p.fetches() == 2
    assert call(g.port, p.token(name="one"))[0] == 200


def test_invented_names_of_keys_cost_the_issuer_one_fetch(gateway, origin, authority, provider):
    p = provider()
    g = gateway(origin(), routes=[protected(authority, p)])
    assert call(g.port, p.token())[0] == 200
    before = p.fetches()
    with ThreadPoolExecutor(8) as pool:
        codes = {code for _, code, _ in pool.map(
            lambda number: call(g.port, p.token(headers={"kid": f"no-{number}"})), range(400))}
    assert codes == {"token-untrusted"}
    assert p.fetches() <= before + 1


def test_an_issuer_that_is_gone_takes_nobody_along(gateway, origin, authority, provider):
    p = provider()
    p.is_up = False
    g = gateway(origin(), routes=[route("open", "/open"), protected(authority, p)])
    assert call(g.port, path="/open")[0] == 200
    status, code, answer = call(g.port, p.token())
    assert (status, code) == (503, "issuer-unavailable") and answer.get("Retry-After")
    p.is_up = True
    until(lambda: call(g.port, p.token())[0] == 200, "the keys are fetched once the issuer is back", seconds=20)
    p.is_up = False
    assert call(g.port, p.token("bob"))[0] == 200


def test_an_issuer_whose_name_or_authority_is_wrong_is_not_believed(gateway, origin, authority, provider, tmp_path):
    p = provider()
    p.document = {**p.document, "issuer": "https://evil.example"}
    g = gateway(origin(), routes=[protected(authority, p)])
    assert call(g.port, p.token())[:2] == (503, "issuer-unavailable")
    other = Authority(tmp_path, "other")
    honest = provider()
    g = gateway(origin(), routes=[protected(other, honest)])
    assert call(g.port, honest.token())[:2] == (503, "issuer-unavailable")
    assert honest.fetches("/.well-known/openid-configuration") == 0


def test_claims_are_counted(gateway, origin, authority, provider):
    p = provider()
    limit = {"type": "rate-limit", "limits": [{"per": "claim:org", "window": "2/1h"}]}
    g = gateway(origin(), routes=[protected(authority, p, more=[limit])])
    statuses = [call(g.port, p.token(subject, org=org))[0] for subject, org in
                [("ann", "x"), ("bob", "x"), ("ann", "y"), ("ann", "x")]]
    assert statuses == [200, 200, 200, 429]


PASSES, REVOKED = (200, None), (401, "token-revoked")


def test_what_is_revoked_is_refused_on_all_nodes_remembered_or_not(tmp_path, redis, origin, authority, provider):
    p = provider()
    routes = [
        protected(authority, p, "/a/*", "remembering"), protected(authority, p, "/b/*", "forgetting", cache=False)]
    c = Nodes(tmp_path, redis(), origin(), routes=routes)
    try:
        def on_all(token):
            return {call(node.port, token, path)[:2] for node in c.nodes for path in ("/a/", "/b/")}

        victims = {
            "--jti": p.token(jti="t-1"), "--session": p.token(sid="s-1"), "--subject": p.token("eve"),
            "--client": p.token(azp="app-1"), "--signing-key": None,
        }
        names = {"--jti": "t-1", "--session": "s-1", "--subject": "eve", "--client": "app-1", "--signing-key": "one"}
        bystander = p.token("ann", jti="t-2", sid="s-2", azp="app-2")
        victims["--signing-key"] = bystander
        for kind, token in victims.items():
            assert on_all(token) == {PASSES}, kind
            began = time.monotonic()
            done = c.verb("revoke", kind, names[kind], "--reason", "test", "--wait")
            assert done.returncode == 0 and "effective on 3 of 3 nodes" in done.stdout, done
            assert on_all(token) == {REVOKED}, (kind, time.monotonic() - began)
            if kind != "--signing-key":
                assert on_all(bystander) == {PASSES}, kind
    finally:
        c.close()


def test_rules_say_who_may_and_keys_stand_beside_tokens(gateway, origin, authority, provider):
    p, up = provider(), origin()
    issuer = {"issuer": p.issuer, "audiences": ["orders"], "ca": {"file": str(authority.certificate)},
              "claims": {"roles": "realm.roles", "tenant": "org"}}
    ways = {"type": "any-of", "policies": [{"type": "api-key"}, {"type": "jwt", "issuers": [issuer]}]}
    rules = {"type": "access", "rules": [
        {"deny": "path matches '/closed/*'"},
        {"allow": "role in ['admin'] or group in ['gold']"},
        {"allow": "scope contains 'orders:read' and method == 'GET' and claim.org == tenant"},
    ]}
    g = gateway(up, routes=[route("all", "/*", policies=[ways, rules])], tenants=[{"id": "acme"}], consumers=[
        {"id": "app", "groups": ["gold"], "keys": [{"id": "k", "sha256": hashlib.sha256(b"key-of-app").hexdigest()}]},
        {"id": "other", "keys": [{"id": "k", "sha256": hashlib.sha256(b"key-of-other").hexdigest()}]}])
    assert call(g.port)[:2] == (401, "api-key-missing")
    assert call(g.port)[2].values("WWW-Authenticate") == ['ApiKey realm="sluice", name="X-API-Key"', 'Bearer realm="sluice"']
    assert call(g.port, p.token(), **{"X-API-Key": "wrong"})[:2] == (401, "api-key-invalid")
    assert call(g.port, **{"X-API-Key": "key-of-other"})[:2] == (403, "access-denied")
    assert call(g.port, **{"X-API-Key": "key-of-app"})[0] == 200
    assert call(g.port, **{"X-API-Key": "key-of-app"}, path="/closed/x")[:2] == (403, "access-denied")
    status, code, answer = call(g.port, p.token(org="acme"))
    assert (status, code) == (403, "access-denied") and 'error="insufficient_scope"' in answer.get("WWW-Authenticate")
    assert call(g.port, p.token(org="acme", scope="orders:read"))[0] == 200
    assert call(g.port, p.token(scope="orders:read"))[:2] == (403, "access-denied")
    assert call(g.port, p.token(realm={"roles": ["admin"]}))[0] == 200
    # Paths are compared as they are meant, however they are written.
    assert call(g.port, p.token(realm={"roles": ["admin"]}), path="/%63losed/x")[:2] == (403, "access-denied")


def test_a_token_bound_to_a_certificate_is_good_with_that_one_only(gateway, origin, authority, provider):
    p, up = provider(), origin()
    server, client, other = (authority.issue(name, "DNS:localhost") for name in ("server", "client", "other"))
    plain = free_port(2)
    port = plain + 1
    tls = {"certificates": [{"certificate": str(server[0]), "key": str(server[1])}],
           "clientCertificates": {"mode": "request", "authorities": str(authority.certificate)}}
    gateway(up, routes=[protected(authority, p)],
            listeners=[{"address": f"127.0.0.1:{plain}"}, {"address": f"127.0.0.1:{port}", "tls": tls}],
            process={"port": plain})
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(client[0].read_text())).digest()
    token = p.token(cnf={"x5t#S256": base64.urlsafe_b64encode(digest).decode().rstrip("=")})

    def status(certificate, token):
        return requests.get(f"https://localhost:{port}/", headers={"Authorization": f"Bearer {token}"}, timeout=10,
                            verify=str(authority.certificate), cert=certificate and tuple(map(str, certificate))).status_code

    assert [status(each, token) for each in (None, other, client)] == [401, 401, 200]
    assert status(None, p.token()) == 200


def test_explain_and_check_know_the_policy(gateway, origin, authority, provider):
    done = sluice("policies", "jwt")
    assert done.returncode == 0 and "issuers" in done.stdout and "RFC" not in done.stderr
    g = gateway(origin(), routes=[protected(authority, provider())])
    answer = call(g.port, "x.y.z")[2]
    decision = answer.get("X-Request-Id")
    explained = sluice("explain", decision, "--admin", f"127.0.0.1:{g.admin}")
    assert "token-invalid" in explained.stdout, explained
