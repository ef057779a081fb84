"""Policies through the whole gateway: keys, limits with concurrent clients, addresses, CORS, headers, fixed answers."""

import hashlib
import re
import threading
import time

import pytest

from support import ask, connect, ok, route, until

KEY = {"type": "api-key", "header": "X-API-Key"}


def consumer(id, *keys, **more):
    return {
        "id": id, **more,
        "keys": [
            {"id": f"{id}-{n}", "sha256": hashlib.sha256(key.encode()).hexdigest()} if isinstance(key, str) else key
            for n, key in enumerate(keys)
        ],
    }


def digest(key, **more):
    return {"id": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), **more}


def with_key(key, name="X-API-Key"):
    return [(name, key)]


# --- Keys --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def keyed(origin, gateway):
    up = origin()
    consumers = [
        consumer("one", "alpha", "beta"),
        consumer("two", digest("old", expires="2020-01-01T00:00:00Z"), digest("new", expires="2090-01-01T00:00:00Z")),
    ]
    return up, gateway(up, consumers=consumers, routes=[route(policies=[KEY])]).port


def test_no_key_is_401_with_a_problem_document(keyed):
    up, port = keyed
    response = ask(port)
    problem = response.json()
    assert response.status == 401 and response.get("Content-Type") == "application/problem+json"
    assert problem["type"] == "urn:sluice:problem:api-key-missing" and problem["status"] == 401
    assert re.fullmatch(r"urn:sluice:decision:[0-9a-f]{32}", problem["instance"])
    assert up.requests == []


@pytest.mark.parametrize("key", ["gamma", "old", "", "alpha ", "ALPHA", "x" * 4000])
def test_a_wrong_key_is_401(keyed, key):
    up, port = keyed
    expected = 200 if key == "alpha " else 401  # whitespace around a value is not part of it
    assert ask(port, headers=with_key(key)).status == expected


def test_two_keys_are_ambiguous(keyed):
    _, port = keyed
    assert ask(port, headers=with_key("alpha") + with_key("beta")).status in (400, 401)


@pytest.mark.parametrize("key", ["alpha", "beta", "new"])
def test_every_active_key_is_admitted_and_kept_from_the_upstream(keyed, key):
    up, port = keyed
    assert ask(port, headers=with_key(key)).status == 200
    assert key not in str(up.requests[0].fields)


@pytest.mark.parametrize("policy, request_", [
    ({"type": "api-key", "query": "key"}, ("/?a=1&key=alpha&b=2", [])),
    ({"type": "api-key", "bearer": True}, ("/?a=1&b=2", [("Authorization", "Bearer alpha")])),
])
def test_keys_elsewhere(origin, gateway, policy, request_):
    up = origin()
    g = gateway(up, consumers=[consumer("one", "alpha")], routes=[route(policies=[policy])])
    path, headers = request_
    assert ask(g.port).status == 401
    assert ask(g.port, path=path, headers=headers).status == 200
    assert up.requests[0].target == "/?a=1&b=2"
    assert "alpha" not in str(up.requests[0])


# --- Limits ------------------------------------------------------------------------------------------------------------


def crowd(port, requests, threads=8, headers=()):
    """So many requests from concurrent clients; the statuses."""
    statuses, lock = [], threading.Lock()

    def client(count):
        with connect(port) as stream:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            for _ in range(count):
                stream.send(f"GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
                status = stream.response().status
                with lock:
                    statuses.append(status)

    started = [threading.Thread(target=client, args=(requests // threads,)) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(60)
    return statuses


LIMITS = {
    "fixed window": ({"per": "consumer", "window": "100/1h"}, 100),
    "sliding window": ({"per": "consumer", "window": "100/1h", "algorithm": "sliding"}, 100),
    "calendar quota": ({"per": "consumer", "quota": "100/month", "timezone": "Europe/Berlin"}, 100),
    "rate with burst": ({"per": "consumer", "rate": "1/h", "burst": 100}, 100),
}


@pytest.mark.parametrize("name", LIMITS)
def test_exactly_the_limit_is_admitted_over_two_loops(origin, gateway, name):
    limit, allowed = LIMITS[name]
    up = origin()
    g = gateway(
        up, threads=2, consumers=[consumer("one", "alpha")],
        routes=[route(policies=[KEY, {"type": "rate-limit", "limits": [limit]}])],
    )
    statuses = crowd(g.port, 400, headers=with_key("alpha"))
    assert statuses.count(200) == allowed and statuses.count(429) == 400 - allowed
    assert len(up.requests) == allowed


def test_a_rate_refills(origin, gateway):
    limit = {"type": "rate-limit", "limits": [{"per": "ip", "rate": "5/s", "burst": 1}]}
    g = gateway(origin(), routes=[route(policies=[limit])])
    began, admitted = time.monotonic(), 0
    while time.monotonic() - began < 2:
        admitted += ask(g.port).status == 200
        time.sleep(0.02)
    assert 9 <= admitted <= 12


def test_concurrency_is_released_when_requests_end(origin, gateway):
    go = threading.Event()
    up = origin(lambda stream, r: (r.target == "/free" or go.wait(20)) and stream.send(ok()))
    limit = {"type": "rate-limit", "limits": [{"per": "ip", "concurrency": 3}]}
    g = gateway(up, routes=[route(policies=[limit])])
    streams = [connect(g.port) for _ in range(3)]
    for stream in streams:
        stream.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: len(up.requests) == 3, "three run")
    assert ask(g.port, path="/free").status == 429
    streams.pop().reset()
    until(lambda: ask(g.port, path="/free").status == 200, "a client that goes away gives its place back")
    go.set()
    assert [stream.response().status for stream in streams] == [200, 200]
    assert [ask(g.port, path="/free").status for _ in range(10)] == [200] * 10


def test_several_levels_are_decided_together_and_a_denial_burns_nothing(origin, gateway):
    levels = {"type": "rate-limit", "limits": [{"per": "consumer", "window": "10/1h"}, {"per": "route", "window": "15/1h"}]}
    g = gateway(
        origin(), consumers=[consumer("one", "alpha"), consumer("two", "beta")], routes=[route(policies=[KEY, levels])]
    )
    assert [ask(g.port, headers=with_key("alpha")).status for _ in range(20)] == [200] * 10 + [429] * 10
    # The ten denials of the first consumer have left the route's five others alone.
    assert [ask(g.port, headers=with_key("beta")).status for _ in range(10)] == [200] * 5 + [429] * 5


def test_limits_are_kept_per_key_of_their_kind(origin, gateway):
    limit = {"type": "rate-limit", "limits": [{"per": "header:X-Team", "window": "2/1h"}]}
    g = gateway(origin(), routes=[route(policies=[limit])])
    for team in ("red", "blue"):
        assert [ask(g.port, headers=[("X-Team", team)]).status for _ in range(3)] == [200, 200, 429]


def test_a_refusal_says_when_to_come_back(origin, gateway):
    limit = {"type": "rate-limit", "limits": [{"per": "ip", "window": "1/1h"}]}
    g = gateway(origin(), routes=[route(policies=[limit])])
    admitted, denied = ask(g.port), ask(g.port)
    assert admitted.status == 200 and denied.status == 429
    assert denied.json()["type"] == "urn:sluice:problem:rate-limited"
    assert 1 <= int(denied.get("Retry-After")) <= 3600
    for response, remaining in ((admitted, 0), (denied, 0)):
        assert re.search(r'^"[^"]+";q=1(;|,|$)', response.get("RateLimit-Policy")), response.get("RateLimit-Policy")
        assert re.search(rf'^"[^"]+";r={remaining}(;t=\d+)?', response.get("RateLimit")), response.get("RateLimit")


def test_counters_survive_a_reload(origin, gateway):
    limit = {"type": "rate-limit", "limits": [{"per": "ip", "window": "5/1h"}]}
    up = origin()
    g = gateway(up, routes=[route(policies=[limit])])
    assert [ask(g.port).status for _ in range(3)] == [200] * 3
    g.reload()
    assert [ask(g.port).status for _ in range(4)] == [200, 200, 429, 429]


# --- The others --------------------------------------------------------------------------------------------------------


def test_ip_filter(origin, gateway):
    up = origin()
    g = gateway(up, routes=[
        route("a", "/allowed", policies=[{"type": "ip-filter", "allow": ["127.0.0.0/8"]}]),
        route("b", "/others", policies=[{"type": "ip-filter", "allow": ["10.0.0.0/8", "2001:db8::/32"]}]),
        route("c", "/denied", policies=[{"type": "ip-filter", "deny": ["127.0.0.1"]}]),
    ])
    assert [ask(g.port, path=path).status for path in ("/denied", "/others", "/allowed")] == [403, 403, 200]
    assert len(up.requests) == 1


def test_a_key_in_the_query_is_not_redirected(gateway):
    key = {"id": "k", "sha256": hashlib.sha256(b"a-key-in-the-query").hexdigest()}
    g = gateway("127.0.0.1:9", consumers=[{"id": "one", "keys": [key]}], routes=[{
        "id": "a", "match": {"path": "/*"}, "policies": [{"type": "api-key", "query": "key"}],
        "redirect": {"status": 302, "location": "https://elsewhere.example{path}{query}"}}])
    reply = ask(g.port, path="/b?x=1&key=a-key-in-the-query&y=2")
    assert reply.status == 302 and reply.get("Location") == "https://elsewhere.example/b?x=1&y=2"


def test_preflight_is_no_way_around_methods(origin, gateway):
    up = origin()
    g = gateway(up, routes=[{"id": "a", "match": {"path": "/*", "methods": ["GET"]}, "upstream": "origin"}])
    fields = [("Origin", "https://o.example.com"), ("Access-Control-Request-Method", "GET")]
    refused = ask(g.port, "OPTIONS", headers=fields)
    assert refused.status == 405 and refused.get("Allow") == "GET, HEAD" and up.requests == []


def test_cors(origin, gateway):
    up = origin(lambda stream, r: stream.send(ok(b"", ("Access-Control-Allow-Origin", "*"))))
    policy = {"type": "cors", "origins": ["https://app.example.com"], "methods": ["GET", "PUT"], "headers": ["X-API-Key"]}
    g = gateway(up, routes=[route(policies=[policy])])
    preflight = ask(g.port, "OPTIONS", headers=[
        ("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-api-key"),
    ])
    assert preflight.status in (200, 204) and up.requests == []
    assert preflight.get("Access-Control-Allow-Origin") == "https://app.example.com"
    assert "PUT" in preflight.get("Access-Control-Allow-Methods")
    evil = ask(g.port, "OPTIONS", headers=[("Origin", "https://evil.example"), ("Access-Control-Request-Method", "PUT")])
    assert evil.get("Access-Control-Allow-Origin") is None and up.requests == []
    simple = ask(g.port, headers=[("Origin", "https://app.example.com")])
    assert simple.values("Access-Control-Allow-Origin") == ["https://app.example.com"]
    assert "origin" in simple.get("Vary", "").lower()


def test_headers(origin, gateway):
    up = origin(lambda stream, r: stream.send(ok(b"", ("X-Powered-By", "secret"), ("X-Kept", "1"))))
    policy = {
        "type": "headers",
        "request": {"set": {"X-Set": "new"}, "add": {"X-Added": "more"}, "remove": ["X-Gone"]},
        "response": {"set": {"X-Frame-Options": "DENY"}, "remove": ["X-Powered-By"]},
    }
    g = gateway(up, routes=[route(policies=[policy])])
    response = ask(g.port, headers=[("X-Set", "old"), ("X-Added", "first"), ("X-Gone", "1")])
    seen = up.requests[0]
    assert seen.values("X-Set") == ["new"] and seen.values("X-Added") == ["first", "more"] and seen.get("X-Gone") is None
    assert response.get("X-Frame-Options") == "DENY" and response.get("X-Powered-By") is None and response.get("X-Kept") == "1"


def test_respond(origin, gateway):
    up = origin()
    policy = {"type": "respond", "status": 418, "body": "short and stout", "contentType": "text/plain"}
    g = gateway(up, routes=[route(policies=[policy])])
    response = ask(g.port)
    assert (response.status, response.body, up.requests) == (418, b"short and stout", [])
    head = ask(g.port, "HEAD")
    assert head.status == 418 and head.body == b""


def test_policies_run_by_phase_not_by_order_in_the_file(origin, gateway):
    limit = {"type": "rate-limit", "limits": [{"per": "consumer", "window": "2/1h"}]}
    g = gateway(
        origin(), consumers=[consumer("one", "alpha"), consumer("two", "beta")], routes=[route(policies=[limit, KEY])]
    )
    for key in ("alpha", "beta"):
        assert [ask(g.port, headers=with_key(key)).status for _ in range(3)] == [200, 200, 429]


# --- Routes ------------------------------------------------------------------------------------------------------------


def test_the_most_specific_route_wins(origin, gateway):
    def named(name):
        return [{"type": "respond", "status": 200, "body": name, "contentType": "text/plain"}]

    g = gateway(origin(), routes=[
        route("all", "/*", policies=named("all")),
        route("orders", "/orders/*", policies=named("below")),
        route("one", "/orders/{id}", policies=named("one")),
        route("new", "/orders/new", policies=named("exact")),
        {"id": "post", "match": {"path": "/orders/new", "methods": ["POST"]}, "upstream": "origin", "policies": named("post")},
        {"id": "host", "match": {"path": "/*", "host": "api.example.com"}, "upstream": "origin", "policies": named("host")},
        {"id": "wild", "match": {"path": "/*", "host": "*.example.com"}, "upstream": "origin", "policies": named("wild")},
        {"id": "header", "match": {"path": "/*", "headers": {"X-Beta": "1"}}, "upstream": "origin", "policies": named("beta")},
    ])
    table = [
        (("GET", "/other", "localhost", []), b"all"), (("GET", "/orders/1/2", "localhost", []), b"below"),
        (("GET", "/orders/1", "localhost", []), b"one"), (("GET", "/orders/new", "localhost", []), b"exact"),
        (("POST", "/orders/new", "localhost", []), b"post"), (("GET", "/x", "api.example.com", []), b"host"),
        (("GET", "/x", "API.Example.COM", []), b"host"), (("GET", "/x", "b.example.com", []), b"wild"),
        (("GET", "/other", "localhost", [("X-Beta", "1")]), b"beta"),
    ]
    for (method, path, host, headers), name in table:
        assert ask(g.port, method, path, headers, host=host).body == name, (method, path, host)


def test_no_route_is_404_and_a_wrong_method_405(origin, gateway):
    g = gateway(origin(), routes=[
        {"id": "a", "match": {"path": "/a", "methods": ["GET", "PUT"]}, "upstream": "origin"},
    ])
    assert ask(g.port, path="/b").status == 404
    wrong = ask(g.port, "DELETE", "/a")
    assert wrong.status == 405 and {"GET", "PUT"} <= {part.strip() for part in wrong.get("Allow").split(",")}


def test_rewrite(origin, gateway):
    up = origin()
    g = gateway(up, routes=[route(path="/v1/*", rewrite={"stripPrefix": "/v1"})])
    assert ask(g.port, path="/v1/orders/1?x=y").status == 200
    assert up.requests[0].target == "/orders/1?x=y"


def test_split_by_weight_is_sticky_by_consumer(origin, gateway):
    a, b = origin(lambda s, r: s.send(ok(b"a"))), origin(lambda s, r: s.send(ok(b"b")))
    keys = [f"key-{n}" for n in range(200)]
    g = gateway(content={
        "upstreams": {"a": {"endpoints": [a.address]}, "b": {"endpoints": [b.address]}},
        "consumers": [consumer(f"c{n}", key) for n, key in enumerate(keys)],
        "routes": [{"id": "s", "match": {"path": "/*"}, "policies": [KEY],
                    "sticky": "consumer", "upstream": [{"upstream": "a", "weight": 80}, {"upstream": "b", "weight": 20}]}],
    })
    first = [ask(g.port, headers=with_key(key)).body for key in keys]
    assert [ask(g.port, headers=with_key(key)).body for key in keys] == first
    assert 0.08 < first.count(b"b") / len(keys) < 0.35


# --- Shadow ------------------------------------------------------------------------------------------------------------


def test_a_policy_in_shadow_refuses_nobody_and_is_logged_and_counted(origin, gateway):
    policies = {
        "new-limit": {"type": "rate-limit", "mode": "shadow", "limits": [{"per": "ip", "window": "2/1h"}]},
        "new-key": {**KEY, "mode": "shadow"},
    }
    up = origin()
    g = gateway(up, policies=policies, routes=[route(policies=["new-limit", "new-key"])])
    for number in range(5):
        response = ask(g.port, headers=with_key("no such key"))
        assert response.status == 200 and response.get("RateLimit") is None and response.get("WWW-Authenticate") is None
    assert all(request.get("X-API-Key") == "no such key" for request in up.requests) and len(up.requests) == 5
    lines = until(lambda: (found := g.log()) and len(found) >= 5 and found, "five lines")
    assert lines[0]["shadow"] == [{"policy": "new-key", "code": "api-key-invalid"}]
    assert {entry["policy"]: entry["code"] for entry in lines[4]["shadow"]} == {
        "new-key": "api-key-invalid", "new-limit": "rate-limited"}
    counted = {(s.labels["policy"], s.labels["verdict"]): s.value for s in g.metrics()["sluice_shadow_decisions"].samples}
    assert counted == {
        ("new-key", "pass"): 0, ("new-key", "refuse"): 5, ("new-limit", "pass"): 2, ("new-limit", "refuse"): 3}
