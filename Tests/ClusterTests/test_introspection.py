"""Callers whose tokens a server knows (Authlib's introspection endpoint), and requests that another service judges."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from certificates import Authority
from introspection import CLIENT, SECRET, Introspection
from support import Origin, free_port, ok, route, until
from test_facts import Nodes
from test_jwt import call


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server(authority):
    made = Introspection(authority)
    yield made
    made.close()


def introspected(authority, server, path="/*", name="introspected", more=(), **options):
    policy = {"type": "oauth2-introspection", "endpoint": server.url, "clientId": CLIENT, "clientSecret": SECRET,
              "ca": {"file": str(authority.certificate)}, **options}
    return route(name, path, policies=[policy, *more])


def passes(port, token, **options):
    return call(port, token, **options)[0] == 200


# --- oauth2-introspection ----------------------------------------------------------------------------------------------


def test_a_token_is_good_as_long_as_its_server_says_so(gateway, origin, authority, server):
    up = origin()
    g = gateway(up, routes=[introspected(
        authority, server, headers={"X-User": "sub"}, audiences=["orders"], issuer=server.url[:-len("/introspect")],
        cacheTime="1s", negativeCacheTime="0s")])
    assert call(g.port)[:2] == (401, "token-missing")
    assert call(g.port, "unknown")[:2] == (401, "token-inactive")
    assert call(g.port, server.token(aud="users"))[:2] == (401, "token-untrusted")
    assert call(g.port, server.token(iss="https://evil.example"))[:2] == (401, "token-untrusted")
    assert call(g.port, server.token(seconds=-1))[:2] == (401, "token-inactive")
    assert not up.requests
    token = server.token("ann")
    assert call(g.port, token, **{"X-User": "root"})[0] == 200
    seen = up.requests[-1]
    assert seen.get("X-User") == "ann" and seen.get("Authorization") is None
    server.revoke(token)
    until(lambda: call(g.port, token)[:2] == (401, "token-inactive"), "the server has taken it back", seconds=5)
    assert token not in g.output.read_text() + g.errors.read_text(), "a token is in a log"
    assert SECRET not in g.output.read_text() + g.errors.read_text(), "a secret is in a log"


def test_a_gateway_that_the_server_does_not_know_lets_nobody_pass(gateway, origin, authority, server):
    up = origin()
    g = gateway(up, routes=[introspected(authority, server, clientSecret="wrong")])
    assert call(g.port, server.token())[:2] == (503, "issuer-unavailable") and not up.requests


def test_a_server_whose_certificate_is_of_somebody_else_is_not_asked(gateway, origin, authority, server, tmp_path):
    g = gateway(origin(), routes=[introspected(Authority(tmp_path, "other"), server)])
    assert call(g.port, server.token())[:2] == (503, "issuer-unavailable") and not server.asked


def test_many_requests_with_one_token_are_one_question(gateway, origin, authority, server):
    server.delay = 1
    g = gateway(origin(), routes=[introspected(authority, server)], threads=1)
    good, bad = server.token(), "nobody-knows-this"
    with ThreadPoolExecutor(200) as pool:
        codes = list(pool.map(lambda number: call(g.port, (good, bad)[number % 2])[:2], range(400)))
    assert codes == [(200, None), (401, "token-inactive")] * 200
    assert server.count(good) == 1 and server.count(bad) == 1


def test_a_token_is_not_remembered_beyond_its_life(gateway, origin, authority, server):
    g = gateway(origin(), routes=[introspected(authority, server, cacheTime="1h")])
    token = server.token(seconds=3)
    assert passes(g.port, token)
    server.stop()
    assert passes(g.port, token)
    until(lambda: call(g.port, token)[:2] == (503, "issuer-unavailable"), "it is over", seconds=10)
    server.start()
    assert call(g.port, token)[:2] == (401, "token-inactive")


def test_while_the_server_is_gone_each_route_does_what_its_policy_says(gateway, origin, authority, server):
    up = origin()
    short = {"cacheTime": "1s"}
    g = gateway(up, routes=[
        introspected(authority, server, "/closed/*", "closed", **short),
        introspected(authority, server, "/stale/*", "stale", onFailure="stale", staleTime="6s", **short),
        introspected(authority, server, "/open/*", "open", onFailure="open", optional=True, **short)])
    token, strange = server.token(), server.token()
    assert all(passes(g.port, token, path=path) for path in ("/closed/", "/stale/", "/open/"))
    server.stop()
    time.sleep(1.1)
    assert call(g.port, token, "/closed/")[:2] == (503, "issuer-unavailable")
    status, _, answer = call(g.port, token, "/stale/")
    assert status == 200 and answer.get("Sluice-Degraded") == "introspection"
    assert call(g.port, strange, "/stale/")[:2] == (503, "issuer-unavailable")
    status, _, answer = call(g.port, token, "/open/")
    assert status == 200 and answer.get("Sluice-Degraded") == "introspection"
    assert up.requests[-1].get("Authorization") is None
    until(lambda: call(g.port, token, "/stale/")[0] == 503, "what was known is too old", seconds=10)
    server.start()
    status, _, answer = call(g.port, token, "/stale/")
    assert status == 200 and answer.get("Sluice-Degraded") is None


def test_a_slow_server_is_waited_for_as_long_as_is_said(gateway, origin, authority, server):
    server.delay = 3
    g = gateway(origin(), routes=[introspected(authority, server, timeout="500ms"), ])
    began = time.monotonic()
    assert call(g.port, server.token())[:2] == (503, "issuer-unavailable")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("answer", [
    (200, "application/json", b"{}"), (200, "application/json", b'{"active":"true"}'), (200, "text/html", b'{"active":true}'),
    (200, "application/json", b'{"active":true'), (500, "application/json", b'{"active":true}'),
    (200, "application/json", b'{"active":true,"x":"' + b"a" * 40_000 + b'"}'),
    (200, "application/json", b'{"active":true,"x":"' + b"a" * 400_000 + b'"}')])
def test_an_answer_that_says_nothing_lets_nobody_pass(gateway, origin, authority, server, answer):
    up = origin()
    g = gateway(up, routes=[introspected(authority, server)])
    server.broken = answer
    token = server.token()
    assert call(g.port, token)[:2] == (503, "issuer-unavailable") and not up.requests
    server.broken = None
    assert passes(g.port, token)


def test_what_the_cluster_revokes_is_refused_though_the_server_calls_it_good(tmp_path, redis, origin, authority, server):
    c = Nodes(tmp_path, redis(), origin(), routes=[introspected(authority, server, cacheTime="1h")])
    try:
        token, bystander = server.token("eve", jti="t-1"), server.token("ann", jti="t-2")
        assert all(passes(node.port, each) for node in c.nodes for each in (token, bystander))
        done = c.verb("revoke", "--jti", "t-1", "--reason", "test", "--wait")
        assert done.returncode == 0, done
        assert {call(node.port, token)[:2] for node in c.nodes} == {(401, "token-revoked")}
        assert all(passes(node.port, bystander) for node in c.nodes)
    finally:
        c.close()


# --- external-auth -----------------------------------------------------------------------------------------------------


class Judge:
    """A service that judges by the field Authorization; `delay` keeps every question waiting."""

    def __init__(self):
        self.delay = 0
        self.origin = Origin(self.answer)
        self.questions = self.origin.requests

    def answer(self, stream, request):
        time.sleep(self.delay)
        said = request.get("Authorization")
        if said == "Bearer good":
            stream.send(ok(b"", ("X-User", "ann"), ("X-Secret", "1")))
        elif said == "Bearer weak":
            stream.send(ok(b"<p>no", ("Content-Type", "text/html"), status="403 Forbidden"))
        elif said == "Bearer lost":
            stream.send(ok(b"", ("Location", "https://id.example/login"), status="302 Found"))
        elif said == "Bearer broken":
            stream.send(ok(b"", status="500 Internal Server Error"))
        elif said == "Bearer odd":
            stream.send(ok(b"", status="404 Not Found"))
        else:
            stream.send(ok(b"", ("WWW-Authenticate", 'Basic realm="judge"'), status="401 Unauthorized"))


@pytest.fixture
def judge():
    made = Judge()
    yield made
    made.origin.close()


def judged(url, path="/*", name="judged", before=(), **options):
    return route(name, path, policies=[*before, {"type": "external-auth", "url": url, "upstreamHeaders": ["X-User"], **options}])


def asked(judge, path="/check"):
    return f"http://{judge.origin.address}{path}"


def test_what_the_service_refuses_never_reaches_the_upstream(gateway, origin, judge):
    up = origin()
    g = gateway(up, routes=[judged(asked(judge), "/a/*", "a", redirects=True, passBody=True), judged(asked(judge), "/b/*", "b")])
    status, code, answer = call(g.port, path="/b/")
    assert (status, code) == (401, "authentication-required")
    assert answer.values("WWW-Authenticate") == ['Basic realm="judge"']
    assert call(g.port, "weak", "/b/")[:2] == (403, "access-denied")
    status, code, answer = call(g.port, "weak", "/a/")
    assert (status, code, answer.body, answer.get("Content-Type")) == (403, None, b"<p>no", "text/html")
    status, _, answer = call(g.port, "lost", "/a/")
    assert status == 302 and answer.get("Location") == "https://id.example/login"
    for token in ("lost", "broken", "odd"):
        assert call(g.port, token, "/b/")[:2] == (503, "authorization-unavailable"), token
    assert not up.requests
    status, _, answer = call(g.port, "good", "/b/x?y=z", **{"X-User": "root", "X_User": "root"})
    assert status == 200
    seen, question = up.requests[-1], judge.questions[-1]
    assert seen.values("X-User") == ["ann"] and seen.get("X_User") is None and seen.get("X-Secret") is None
    assert answer.get("X-User") is None
    assert question.get("X-Forwarded-Uri") == "/b/x?y=z" and question.get("X-Forwarded-Method") == "GET"
    assert question.get("X-Forwarded-For") == "127.0.0.1" and question.get("X-User") is None


def test_the_service_is_told_who_calls(gateway, origin, authority, server, judge):
    policy = introspected(authority, server)["policies"][0]
    g = gateway(origin(), routes=[judged(asked(judge), before=[policy])])
    assert call(g.port, server.token("ann", client_id="cli"))[:2] == (401, "authentication-required")
    question = judge.questions[-1]
    assert question.get("X-Identity-Subject") == "ann" and question.get("X-Identity-Client") == "cli"
    assert question.get("Authorization") is None


def test_while_the_service_is_gone_or_slow_routes_do_as_their_policies_say(gateway, origin, judge):
    up, nobody = origin(), f"http://127.0.0.1:{free_port()}/"
    g = gateway(up, routes=[
        judged(nobody, "/closed/*", "closed"), judged(nobody, "/open/*", "open", onFailure="open"),
        judged(asked(judge), "/slow/*", "slow", timeout="300ms")])
    assert call(g.port, "good", "/closed/")[:2] == (503, "authorization-unavailable") and not up.requests
    status, _, answer = call(g.port, "good", "/open/", **{"X-User": "root"})
    assert status == 200 and answer.get("Sluice-Degraded") == "external-auth" and up.requests[-1].get("X-User") is None
    judge.delay = 2
    began = time.monotonic()
    assert call(g.port, "good", "/slow/")[:2] == (503, "authorization-unavailable")
    assert time.monotonic() - began < 1.5


def test_answers_that_are_remembered_cost_one_question(gateway, origin, judge):
    judge.delay = 0.5
    cache = {"time": "1m", "refusalTime": "1m"}
    g = gateway(origin(), routes=[judged(asked(judge), cache=cache)], threads=1)
    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(lambda number: call(g.port, ("good", "weak")[number % 2])[0], range(400)))
    assert statuses == [200, 403] * 200
    assert len(judge.questions) == 2
    assert call(g.port, "good", "/other")[0] == 200 and len(judge.questions) == 3
