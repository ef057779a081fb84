"""What operators see: access log, trace context, metrics, health."""

import json
import re

from support import ask, connect, ok, route, sluice, until


def test_one_log_line_a_request(origin, gateway):
    g = gateway(origin(lambda s, r: s.send(ok(b"12345"))))
    ask(g.port, path="/logged?secret=1", headers=[("User-Agent", 'tester "1"\\')])
    ask(g.port, "POST", "/two", body=b"abc")
    lines = until(lambda: len(g.log()) >= 2 and g.log(), "two lines are there")
    assert len(lines) == 2
    text = json.dumps(lines[0])
    assert "/logged" in text and "200" in text and "all" in text


def test_refusals_are_logged_with_their_decision(origin, gateway):
    g = gateway(origin(), routes=[route(policies=[{"type": "api-key", "header": "X-API-Key"}])])
    decision = ask(g.port).json()["instance"].rsplit(":", 1)[1]
    until(lambda: any(decision in json.dumps(line) for line in g.log()), "the decision is in the log")


def test_log_injection_is_impossible(origin, gateway):
    g = gateway(origin())
    ask(g.port, path='/a"b%0a{', headers=[("User-Agent", '\\"},{"forged":1}'), ("X-Request-Id", 'a"b')])
    lines = until(lambda: g.log(), "the line is there")
    assert len(lines) == 1 and "forged" not in lines[0]


def test_traceparent_is_continued(origin, gateway):
    up = origin()
    g = gateway(up, node={"trustedProxies": ["127.0.0.1"]})
    ask(g.port, headers=[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
    match = re.fullmatch(r"00-0af7651916cd43dd8448eb211c80319c-([0-9a-f]{16})-01", up.requests[0].get("traceparent"))
    assert match and match[1] != "b7ad6b7169203331"


def test_traceparent_is_started_and_a_broken_one_replaced(origin, gateway):
    up = origin()
    g = gateway(up)
    ask(g.port)
    ask(g.port, headers=[("traceparent", "00-zzz-1-01")])
    for request in up.requests:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", request.get("traceparent"))
    assert up.requests[0].get("traceparent")[3:35] != up.requests[1].get("traceparent")[3:35]


def test_a_request_id_is_returned(origin, gateway):
    g = gateway(origin())
    first, second = ask(g.port).get("X-Request-Id"), ask(g.port).get("X-Request-Id")
    assert first and second and first != second


def test_metrics_are_what_prometheus_reads(origin, gateway):
    limit = {"type": "rate-limit", "limits": [{"per": "ip", "window": "3/1h"}]}
    g = gateway(origin(), routes=[route(policies=[limit])])
    assert [ask(g.port).status for _ in range(5)] == [200, 200, 200, 429, 429]
    families = g.metrics()
    samples = [sample for family in families.values() for sample in family.samples]

    def total(route_, class_):
        return sum(
            s.value for s in samples
            if s.labels.get("route") == route_ and class_ in s.labels.values() and s.name.endswith("requests_total")
        )

    assert total("all", "2xx") == 3 and total("all", "4xx") == 2
    assert any(f.type == "histogram" for f in families.values())
    assert any("upstream" in f.name or "endpoint" in f.name for f in families.values())
    assert any("loop_turn_duration" in f.name for f in families.values())
    for family in families.values():
        assert family.documentation, f"{family.name} has no help"


def test_label_sets_stay_bounded(origin, gateway):
    g = gateway(origin(), routes=[route(path="/known")])
    ask(g.port, path="/known")
    before = len(ask(g.admin, path="/metrics").body)
    for number in range(300):
        ask(g.port, "GET" if number % 2 else f"M{number}", path=f"/unknown/{number}", host=f"h{number}.example")
    assert len(ask(g.admin, path="/metrics").body) < before * 2


def test_health_and_readiness(origin, gateway):
    g = gateway(origin())
    assert ask(g.admin, path="/healthz").status == 200
    assert ask(g.admin, path="/readyz").status == 200
    assert ask(g.admin, path="/nothing").status == 404
    assert ask(g.admin, "DELETE", path="/metrics").status == 405


def test_admin_with_tokens_refuses_strangers(origin, gateway, tmp_path):
    from support import Gateway, configuration, free_port

    token = "an-operator-token-of-some-length"
    admin = free_port()
    content = configuration(origin(), admin={
        "address": f"127.0.0.1:{admin}", "tokens": [{"name": "ops", "role": "viewer", "token": {"env": "OPS_TOKEN"}}],
    })
    with Gateway(tmp_path, content, admin=admin, environment={"OPS_TOKEN": token}) as g:
        assert ask(admin, path="/metrics").status == 401
        assert ask(admin, path="/metrics", headers=[("Authorization", "Bearer wrong")]).status == 401
        assert ask(admin, path="/metrics", headers=[("Authorization", f"Bearer {token}")]).status == 200


def test_admin_beyond_loopback_without_a_token_is_refused_at_start(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{ admin: { address: "0.0.0.0:9901" }, listeners: [{ address: "127.0.0.1:0" }], routes: [] }')
    done = sluice("check", file)
    assert done.returncode == 1 and "token" in done.stderr + done.stdout
