"""What callers and operators learn of limits: /.sluice/usage, sluice usage, sluice explain."""

import hashlib
import json
import os
import subprocess

from support import Gateway, ask, configuration, route, sluice, until

KEY = "a-key-of-the-tests"


def keyed(origin, gateway, **options):
    key = hashlib.sha256(KEY.encode()).hexdigest()
    limits = [{"per": "consumer", "window": "3/1h"}, {"per": "consumer", "quota": "1000/month"}]
    policies = [{"type": "api-key"}, {"type": "rate-limit", "limits": limits}]
    return gateway(
        origin(), consumers=[{"id": "app", "keys": [{"id": "k", "sha256": key}]}], routes=[route(policies=policies)],
        **options)


def curl(g, path, *arguments):
    done = subprocess.run(
        ["curl", "-sS", "-i", "-m", "10", *arguments, f"http://127.0.0.1:{g.port}{path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition("\n\n") if "\r\n\r\n" not in done.stdout else done.stdout.partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def window(document):
    return next(limit for limit in document["limits"] if limit["kind"] == "window")


def verb(g, *arguments):
    return sluice(*arguments, env={**os.environ, "SLUICE_ADMIN": f"127.0.0.1:{g.admin}"})


def test_a_caller_sees_what_is_used_and_a_refusal_is_explained(origin, gateway):
    g = keyed(origin, gateway, node={"threads": 2})
    assert curl(g, "/.sluice/usage")[0] == 401
    assert curl(g, "/.sluice/usage", "-H", "X-API-Key: wrong")[0] == 401
    key = ("-H", f"X-API-Key: {KEY}")
    for used in range(3):
        status, _, body = curl(g, "/.sluice/usage", *key)
        assert status == 200 and window(json.loads(body))["used"] == used
        assert curl(g, "/anything", *key)[0] == 200
    status, head, body = curl(g, "/anything", *key)
    assert status == 429
    problem = json.loads(body)
    usage = json.loads(curl(g, "/.sluice/usage", *key)[2])
    assert usage["consumer"] == "app" and window(usage)["exhausted"] and window(usage)["remaining"] == 0

    # On whichever loop the connection was: the decision is found.
    explained = verb(g, "explain", "--json", problem["instance"])
    assert explained.returncode == 0, explained.stderr
    document = json.loads(explained.stdout)
    assert document["code"] == "rate-limited" and document["consumer"] == "app" and document["client"] == "127.0.0.1"
    assert problem["instance"].endswith(document["decision"])
    assert [level["kind"] for level in document["levels"] if level["binding"]] == ["window"]
    assert document["node"] == usage["node"]

    shown = verb(g, "explain", problem["instance"].rsplit(":", 1)[1])
    assert shown.returncode == 0 and "rate-limited" in shown.stdout and "3 in each window of 3600 s" in shown.stdout


def test_verbs_ask_a_node_and_say_what_is_wrong(origin, gateway):
    g = keyed(origin, gateway)
    ask(g.port, headers=[("X-API-Key", KEY)])
    table = verb(g, "usage", "app")
    assert table.returncode == 0 and "calendar" in table.stdout and "USED" in table.stdout
    assert window(json.loads(verb(g, "usage", "--json", "app").stdout))["used"] == 1
    would = verb(g, "explain", "--consumer", "app", "--route", "all", "--json")
    assert json.loads(would.stdout)["outcome"] == "admitted"
    assert window(json.loads(verb(g, "usage", "--json", "app").stdout))["used"] == 1
    for arguments, status in [
        (("usage", "nobody"), 1), (("usage",), 2), (("explain",), 2), (("explain", "0" * 32), 1),
        (("explain", "--consumer", "app", "--route", "other"), 1),
    ]:
        done = verb(g, *arguments)
        assert done.returncode == status and done.stderr and not done.stdout, arguments
    alone = sluice("usage", "app", "--admin", "127.0.0.1:1")
    assert alone.returncode == 1 and "SLUICE_ADMIN" in alone.stderr


def test_reserved_paths_reach_no_upstream_and_no_file(origin, gateway, tmp_path):
    up = origin()
    g = gateway(up)
    assert [ask(g.port, path=path).status for path in ("/.sluice", "/.sluice/x", "/.sluice/usage")] == [404, 404, 401]
    assert up.requests == []
    file = tmp_path / "reserved.json"
    file.write_text('{ listeners: ["127.0.0.1:1"], routes: [{ id: "r", match: { path: "/.sluice/*" }, redirect: "/" }] }')
    done = sluice("check", file)
    assert done.returncode == 1 and "gateway's own" in done.stderr


def test_usage_adds_up_over_nodes_and_is_null_while_redis_is_away(origin, redis, tmp_path):
    store, up, nodes = redis(), origin(), []
    key = hashlib.sha256(KEY.encode()).hexdigest()
    policies = [{"type": "api-key"}, {"type": "rate-limit", "limits": [{"per": "consumer", "window": "6/1h"}]}]
    try:
        for number in range(3):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            nodes.append(Gateway(folder, configuration(
                up, routes=[route(policies=policies)], consumers=[{"id": "app", "keys": [{"id": "k", "sha256": key}]}],
                node={"name": f"node-{number}"}, store=store.url, cluster={"name": "test", "secret": "of the tests, long enough"},
            )).start())

        def usage(node):
            """What the caller has used; None for one who asks too often."""
            answer = ask(node.port, path="/.sluice/usage", headers=[("X-API-Key", KEY)])
            return answer.json() if answer.status == 200 else None

        for node in nodes:
            until(lambda: (found := usage(node)) and window(found)["source"] == "exact", "the node asks Redis")
        while ask(nodes[0].port, path="/", headers=[("X-API-Key", KEY)]).status == 200:
            pass
        for number, node in enumerate(nodes):
            found = until(lambda: usage(node), "the node answers")
            assert found["node"] == f"node-{number}" and window(found)["used"] == 6 and window(found)["exhausted"]
        would = json.loads(verb(nodes[2], "explain", "--consumer", "app", "--route", "all", "--json").stdout)
        assert (would["outcome"], would["code"], would["source"]) == ("refused", "rate-limited", "exact")
        refused = ask(nodes[1].port, headers=[("X-API-Key", KEY)]).json()["instance"]
        assert json.loads(verb(nodes[1], "explain", "--json", refused).stdout)["source"] in ("exact", "denycache")
        assert verb(nodes[0], "explain", refused).returncode == 1

        store.pause()
        away = window(until(lambda: usage(nodes[0]), "the node answers"))
        assert away["used"] is None and away["source"] is None and away["onStoreFailure"] == "local"
        would = json.loads(verb(nodes[0], "explain", "--consumer", "app", "--route", "all", "--json").stdout)
        assert would["outcome"] == "unknown" and "local" in would["explanation"]
        store.resume()
        until(lambda: (found := usage(nodes[0])) and window(found)["used"] == 6, "the node asks Redis again")
    finally:
        for node in nodes:
            node.__exit__()
