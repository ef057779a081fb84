"""The admin API of a cluster: true to its own description, and every change or refusal to change in the audit log."""

import json
import pathlib
import subprocess
import sys

import pytest

from support import Gateway, ask, configuration, sluice, until

SECRET = "a secret of thirty-two bytes, say"
TOKENS = {name: f"{name}-0123456789abcdef" for name in ("admin", "operator", "viewer")}


def bearer(name):
    return [("Authorization", f"Bearer {TOKENS[name]}")]


@pytest.fixture
def nodes(tmp_path, redis, origin):
    """Two nodes of one cluster, whose admin ports know a token of each role."""
    store, up, started = redis(), origin(), []
    for number in (1, 2):
        folder = tmp_path / f"node-{number}"
        folder.mkdir()
        node = Gateway(folder, "")
        tokens = [{"name": name, "role": name, "token": token} for name, token in TOKENS.items()]
        node.write(configuration(
            up, node={"name": f"node-{number}"}, store=store.url, cluster={"name": "test", "secret": SECRET},
            consumers=[{"id": "demo", "keys": []}],
            admin={"address": f"127.0.0.1:{node.admin}", "tokens": tokens}))
        started.append(node)
    for node in started:
        node.start()
        node.store = store
    yield started
    for node in started:
        node.__exit__()


def audit_of(node, *arguments):
    result = sluice(
        "audit", *arguments, "--admin", f"127.0.0.1:{node.admin}",
        env={"PATH": "/usr/bin", "SLUICE_ADMIN_TOKEN": TOKENS["viewer"]})
    return result.returncode, result.stdout + result.stderr


def lines_of(node):
    code, text = audit_of(node)
    assert code == 0, text
    return [json.loads(line) for line in text.splitlines()]


def test_schemathesis_finds_nothing_against_the_description(nodes):
    # A body of the right form can still contradict itself, such as by a moment that is over: 422. And no schema says how long
    # a request line may be: 414.
    accepted = ["2xx", "401", "403", "404", "409", "412", "422", "429"]
    rejected = ["400", "401", "403", "404", "405", "409", "414", "415", "422", "431"]
    (nodes[0].folder / "schemathesis.toml").write_text(
        f"[checks.positive_data_acceptance]\nexpected-statuses = {json.dumps(accepted)}\n"
        f"[checks.negative_data_rejection]\nexpected-statuses = {json.dumps(rejected)}\n")
    tool = pathlib.Path(sys.executable).parent / "schemathesis"
    result = subprocess.run(
        [tool, "run", f"http://127.0.0.1:{nodes[0].admin}/openapi.json", "-H", f"Authorization: Bearer {TOKENS['admin']}",
         "--max-examples", "25", "--seed", "1", "--phases", "examples,coverage,fuzzing", "--request-timeout", "10",
         "--generation-database", "none"],
        cwd=nodes[0].folder, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    # It has not killed anything either.
    assert ask(nodes[0].admin, path="/healthz").status == 200


def test_roles_bound_what_a_token_may_do(nodes):
    port = nodes[0].admin
    assert ask(port, path="/v1/nodes").status == 401
    assert ask(port, path="/v1/nodes", headers=[("Authorization", "Bearer wrong-0123456789abcdef")]).status == 401
    for name in TOKENS:
        assert ask(port, path="/v1/nodes", headers=bearer(name)).status == 200
    for path, method in [("/v1/config", "PUT"), ("/v1/revocations", "POST"), ("/v1/keys", "POST")]:
        assert ask(port, path=path, method=method, headers=bearer("viewer")).status in (403, 404, 405)


def test_a_refusal_to_change_is_in_the_log_of_every_node_and_the_chain_is_whole(nodes):
    first, second = nodes
    refused = ask(first.admin, path="/v1/config", method="PUT", headers=bearer("viewer"))
    assert refused.status in (403, 404, 405)
    decision = refused.json()["instance"].rsplit(":", 1)[1]
    found = until(
        lambda: [line for line in lines_of(second) if line.get("decision") == decision], "the other node has the line")
    assert found[0]["actor"] == "viewer" and found[0]["outcome"] == "refused" and found[0]["node"] == "node-1"
    for node in nodes:
        until(lambda: decision in node.said(), "the line is in the node's own log")
        code, text = audit_of(node, "verify")
        assert code == 0 and "whole and as they were signed" in text, text


def test_a_change_of_the_configuration_is_in_the_log_with_what_it_said_before_and_says_now(nodes):
    node = nodes[0]
    content = json.loads(node.file.read_text())
    content["consumers"] = [{"id": "demo", "groups": ["gold"], "keys": []}]
    answer = ask(
        node.admin, path="/v1/config?message=gold+for+demo", method="PUT", body=json.dumps(content).encode(),
        headers=[*bearer("operator"), ("Content-Type", "application/json")])
    assert answer.status == 200, answer.body
    line = until(
        lambda: next((line for line in lines_of(nodes[1]) if line["target"] == "revision 2"), None), "the line of the change")
    assert line["actor"] == "operator" and line["reason"] == "gold for demo" and line["outcome"] == "done"
    assert "gold" in line["after"] and "gold" not in line.get("before", "")


def test_a_line_that_was_removed_or_altered_is_found(nodes, tmp_path):
    node = nodes[0]
    for number in range(4):
        ask(node.admin, path=f"/v1/thing-{number}", method="DELETE", headers=bearer("operator"))
    until(lambda: sum("delete /v1/thing-" in line for line in node.errors.read_text().splitlines()) == 4, "four lines")
    log = node.errors.read_text().splitlines()
    mine = [index for index, line in enumerate(log) if "delete /v1/thing-" in line]
    file = tmp_path / "copy.log"

    def verify(lines):
        file.write_text("\n".join(lines) + "\n")
        return audit_of(node, "verify", str(file))

    code, text = verify(log)
    assert code == 0, text
    code, text = verify(log[:mine[1]] + log[mine[1] + 1:])
    assert code == 1 and "is missing: it was removed" in text
    altered = [*log]
    altered[mine[2]] = altered[mine[2]].replace("thing-2", "thing-9")
    code, text = verify(altered)
    assert code == 1 and f"line {mine[2] + 1} of the file" in text and "altered" in text
    code, text = verify(log[:mine[3]])
    assert code == 1 and "missing at the end" in text


def test_what_the_store_lost_is_put_back_by_nodes_that_remember(nodes):
    node, store = nodes[0], nodes[0].store
    prefix = "sluice:test:{cluster}:audit"
    for number in range(4):
        ask(node.admin, path=f"/v1/thing-{number}", method="DELETE", headers=bearer("operator"))

    def settled():
        # A node reads a moment later what another one wrote.
        code, text = audit_of(node)
        lines = lines_of(node)
        return code == 0 and len(lines) >= 4 and lines == [json.loads(line) for line in text.splitlines()] and lines

    before = until(settled, "four lines, and none that the node has not read yet")
    # As a failover does whose replica was two lines behind.
    count = before[-1]["sequence"]
    store.ask("XDEL", f"{prefix}:log", f"{count}-0", f"{count - 1}-0")
    store.ask("XSETID", f"{prefix}:log", f"{count - 2}-0")
    store.ask("HSET", f"{prefix}:head", "sequence", str(count - 2), "digest", before[-2]["previous"])
    store.ask("CLIENT", "KILL", "TYPE", "normal")

    def is_back():
        code, text = audit_of(node)
        return code == 0 and [json.loads(line) for line in text.splitlines()] == before

    until(is_back, "all lines are back")
    code, text = audit_of(nodes[1], "verify")
    assert code == 0, text
