"""One configuration on three nodes: applied in one place, in force on each of them, and never another than what was signed."""

import json
import os
import pwd
from signal import SIGKILL
import subprocess
import tempfile
import threading
import time

import pytest

from nodes import SECRET, WARM, Cluster, limited
from support import SLUICE, Gateway, Origin, ask, configuration, connect, ok, route, sluice, until


def verb(node, *words, environment=None, timeout=30):
    """A verb that asks a node, with nothing in its environment but what it is given."""
    result = sluice(
        words[0], "--admin", f"127.0.0.1:{node.admin}", *words[1:], timeout=timeout,
        env={"PATH": os.environ["PATH"], **(environment or {})})
    return result.returncode, result.stdout, result.stderr


def written(node, content, name="next.json"):
    """A configuration file beside a node's."""
    path = node.folder / name
    path.write_text(json.dumps(content, indent=2))
    return path


def answered(text, **more):
    """Routes of which the first one answers by itself."""
    policy = {"type": "respond", "status": 200, "body": text}
    return [{"id": "said", "match": {"path": "/said"}, "policies": [policy], **more}, WARM]


def said(node):
    return ask(node.port, path="/said").body.decode()


def revisions(node):
    reply = ask(node.admin, path="/v1/config/revisions")
    return [(each["revision"], each["cause"]) for each in reply.json()["revisions"]] if reply.status == 200 else None


def leader(c):
    """The node that leads."""

    def found():
        reply = ask(c.nodes[0].admin, path="/v1/nodes").json()
        names = [each["name"] for each in reply["nodes"] if each["role"] == "leader" and each["alive"]]
        return names and next((n for n in c.nodes if n.name == names[0]), None)

    return until(found, "somebody leads")


@pytest.fixture
def trio(tmp_path, redis, origin):
    """trio(*routes) starts three nodes on one Redis, called node-1 to node-3."""
    started = []

    def start(*routes, count=3, **options):
        c = Cluster(tmp_path, redis(), origin(), [*routes] or answered("one"), count=count, **options)
        for number, node in enumerate(c.nodes, 1):
            node.name = f"node-{number}"
        started.append(c)
        return c

    yield start
    for each in started:
        each.close()


def test_an_invalid_object_is_refused_with_its_place_and_nothing_changes(trio):
    c = trio()
    before = c.redis.ask("HGET", "sluice:test:{cluster}:head", "revision")
    content = json.loads(json.dumps(c.content(0, answered("two"))))
    content["routes"][1]["policys"] = []
    path = written(c.nodes[0], content)
    status, out, err = verb(c.nodes[0], "apply", "--wait", path)
    assert status == 1 and out == ""
    assert f"{path}:" in err and "routes[1].policys: there is no option \"policys\" here; did you mean \"policies\"?" in err
    reply = ask(
        c.nodes[1].admin, "PUT", "/v1/config", headers=[("Content-Type", "application/json")],
        body=json.dumps(content).encode())
    assert reply.status == 422
    assert [d["path"] for d in reply.json()["diagnostics"] if d["severity"] == "error"] == ["routes[1].policys"]
    conflict = ask(
        c.nodes[1].admin, "PUT", "/v1/config", headers=[("Content-Type", "application/json"), ("If-Match", '"77"')],
        body=json.dumps(c.content(0, answered("two"))).encode())
    assert (conflict.status, conflict.json()["type"]) == (412, "urn:sluice:problem:other-revision")
    assert c.redis.ask("HGET", "sluice:test:{cluster}:head", "revision") == before
    assert [said(node) for node in c.nodes] == ["one"] * 3


def test_a_lowered_limit_is_in_force_on_each_node_a_moment_later_and_back_with_one_verb(trio):
    def routes(limit):
        return [limited({"window": f"{limit}/1h"}, "low", "/low", mode="exact", onStoreFailure="closed"), WARM]

    c = trio(*routes(1000))
    c.until_up("/warm")
    c.until_up("/low")
    path = written(c.nodes[0], c.content(0, routes(3)))
    status, out, _ = verb(c.nodes[1], "plan", path)
    assert status == 0 and "limits[0].window: \"1000/1h\" -> \"3/1h\"" in out
    assert "! low/rate-limit/ip: lowered from 1000 in each 1h to 3 in each 1h: route \"low\"" in out
    status, out, _ = verb(c.nodes[1], "apply", "--wait", "-m", "less for all", path)
    assert status == 0 and out.startswith("revision 2\n")
    assert sorted(line.split(":")[0] for line in out.splitlines()[1:]) == ["node-1", "node-2", "node-3"]
    assert [c.ask(number, "/low").status for number in range(3)] == [429] * 3
    status, out, _ = verb(c.nodes[2], "history")
    assert status == 0 and "less for all" in out and "the file of the first node" in out
    status, out, _ = verb(c.nodes[2], "diff", "1", "2")
    assert status == 0 and "~ route \"low\"" in out
    status, out, _ = verb(c.nodes[0], "rollback", "--wait", "1")
    assert status == 0
    assert [c.ask(number, "/low").status for number in range(3)] == [200] * 3
    assert revisions(c.nodes[0]) == [(3, "rolled back"), (2, "applied"), (1, "seeded")]
    # Whoever says the same again changes nothing.
    status, out, _ = verb(c.nodes[0], "apply", written(c.nodes[0], c.content(0, routes(1000))))
    assert (status, out) == (0, "nothing changes: revision 3 says the same\n")


def test_a_secret_that_is_referred_to_travels_sealed_and_is_never_shown(trio):
    c = trio(count=2)
    secret = "hush-" + os.urandom(8).hex()
    content = c.content(0, answered({"env": "SAYING"}))
    path = written(c.nodes[0], content)
    status, out, err = verb(c.nodes[0], "apply", path)
    assert status == 1 and "the variable SAYING is not set" in err
    seen = []
    for words in (["plan", path], ["apply", "--wait", path], ["apply", "--json", path]):
        status, out, err = verb(c.nodes[0], *words, environment={"SAYING": secret})
        assert status == 0
        seen += [out, err]
    assert [said(node) for node in c.nodes] == [secret] * 2
    status, out, err = verb(c.nodes[1], "plan", path, environment={"SAYING": "another one"})
    assert "stands for another value" in out
    seen += [out, err, verb(c.nodes[1], "diff", "1", "2")[1], verb(c.nodes[1], "history", "--json")[1]]
    for where in ("/v1/config", "/v1/config/revisions", "/v1/config/revisions/2", "/v1/config/revisions/2/text"):
        seen.append(ask(c.nodes[0].admin, path=where).body.decode())
    seen += [node.said() for node in c.nodes]
    seen += [file.read_bytes().decode("latin-1") for node in c.nodes for file in node.state.rglob("revision-*")]
    for key in c.redis.ask("KEYS", "sluice:test:*"):
        seen.append(c.redis.ask("DUMP", key.decode()).decode("latin-1"))
    assert not any(secret in text for text in seen)
    assert any('"SAYING"' in text for text in seen)
    # What an author does not bring along keeps the value that it has.
    c.nodes[1].apply({**content, "routes": [*content["routes"], route("more", "/more")]})
    assert [said(node) for node in c.nodes] == [secret] * 2


def test_a_node_boots_without_redis_under_the_last_good_file_that_is_whole(trio):
    c = trio()
    for text in ("two", "three"):
        c.nodes[0].apply(c.content(0, answered(text)))
    c.redis.kill()
    node = c.nodes[0]
    node.stop(SIGKILL)
    newest = max(node.state.rglob("revision-*"))
    bytes_of_newest = bytearray(newest.read_bytes())
    bytes_of_newest[len(bytes_of_newest) // 2] ^= 1
    newest.write_bytes(bytes_of_newest)
    # Without a store the node cannot know who is revoked, so that it is not ready; it serves all the same.
    node.start(wait=False).wait_for_port()
    assert said(node) == "two"
    assert f"the last good file {newest.name} is of no use" in node.said()
    c.redis.start()
    until(lambda: said(node) == "three", "the node takes the newest revision again")
    assert [said(each) for each in c.nodes] == ["three"] * 3
    until(lambda: revisions(node) and revisions(node)[0][0] == 3, "the store has its revisions back")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_node_that_becomes_another_user_goes_on_keeping_its_revisions(gateway, origin, redis):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        content = configuration(
            origin(), node={"name": "node-1", "user": "nobody", "state": f"{folder}/state"},
            store=redis().url, cluster={"name": "test", "secret": SECRET}, routes=answered("first"))
        node = gateway(content=content)
        content["routes"] = answered("second")
        code, out, err = verb(node, "apply", "--wait", written(node, content))
        assert code == 0 and said(node) == "second", out + err
        kept = until(lambda: sorted(os.listdir(f"{folder}/state/revisions"))[1:], "the second one is kept")
        assert os.stat(f"{folder}/state/revisions/{kept[0]}").st_uid == pwd.getpwnam("nobody").pw_uid


def test_a_node_that_joins_takes_the_clusters_revision_and_warns_of_its_own_file(trio, tmp_path):
    c = trio(count=1)
    folder = tmp_path / "late"
    folder.mkdir()
    late = Gateway(folder, c.content(1, answered("something else")))
    try:
        late.start()
        assert said(late) == "one"
        assert f"differs in 1 object; see: sluice plan {late.file}" in late.said()
        late.reload(c.content(1, answered("something else again")))
        assert said(late) == "one"
        assert f"to change it: sluice apply {late.file}" in late.said()
        # The rest of a file may be broken: it is the cluster's anyway.
        late.stop()
        late.write({**c.content(1, answered("x")), "routes": 7})
        late.start()
        assert said(late) == "one"
    finally:
        late.__exit__()


def test_an_apply_survives_the_leader_that_is_killed_meanwhile(trio):
    c = trio()
    first = leader(c)
    others = [node for node in c.nodes if node is not first]
    path = written(others[0], c.content(0, answered("two")))
    first.stop(SIGKILL)
    status, out, err = verb(others[0], "apply", "--wait", path)
    assert status == 0 and "revision 2" in out, out + err
    assert [said(node) for node in others] == ["two"] * 2
    assert revisions(others[1]) == [(2, "applied"), (1, "seeded")]
    first.start()
    assert said(first) == "two"


def test_while_redis_is_away_nothing_changes_and_afterwards_everything_can(trio):
    c = trio()
    c.nodes[0].apply(c.content(0, answered("two")))
    path = written(c.nodes[0], c.content(0, answered("three")))
    c.redis.kill()
    status, _, err = verb(c.nodes[0], "apply", "--wait", path)
    assert status == 1 and "The store does not answer (503)" in err
    assert [said(node) for node in c.nodes] == ["two"] * 3
    # It comes back empty: nodes give it the revision that they run.
    c.redis.start()
    for node in c.nodes:
        until(lambda: (known := revisions(node)) and known[0][0] == 2, "the store has revision 2 again, and this node asks it", 10)
    status, out, err = verb(c.nodes[0], "apply", "--wait", path)
    assert status == 0, out + err
    assert [said(node) for node in c.nodes] == ["three"] * 3


def test_a_staged_revision_that_fails_goes_back_by_itself_and_says_why(trio, origin):
    failing = origin(lambda stream, request: stream.send(ok(b"no", status="500 Internal Server Error")))
    c = trio(route("work", "/work"), WARM)
    content = c.content(0, [route("work", "/work"), WARM])
    content["upstreams"]["origin"]["endpoints"] = [failing.address]
    path = written(c.nodes[2], content)
    over = threading.Event()

    def load():
        while not over.is_set():
            for number in range(3):
                c.ask(number, "/work")

    thread = threading.Thread(target=load)
    thread.start()
    try:
        status, out, err = verb(c.nodes[2], "apply", "--canary", "1", "--hold", "30s", "--wait", path)
    finally:
        over.set()
        thread.join()
    assert status == 1 and "node-1: in force after" in out and "reverted: revision 2" in out, out + err
    assert "requests failed where it was staged, 0 % elsewhere" in out
    until(lambda: {c.ask(number, "/work").status for number in range(3)} == {200}, "all nodes serve as before")
    history = ask(c.nodes[1].admin, path="/v1/config/revisions").json()["revisions"]
    assert [(each["cause"], each["stage"]) for each in history] == [("reverted", []), ("applied", ["node-1"]), ("seeded", [])]


def test_no_request_is_lost_while_revisions_come_and_go(trio):
    c = trio(route("work", "/work"), WARM)
    failures, count, over = [], [0], threading.Event()

    def load(number):
        with connect(c.nodes[number].port) as stream:
            while not over.is_set():
                stream.send("GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n")
                response = stream.response()
                count[0] += 1
                if response.status != 200:
                    failures.append(response.status)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for number in range(10):
        c.nodes[number % 3].apply(c.content(0, [route("work", "/work"), *answered(f"{number}")]))
    over.set()
    for thread in threads:
        thread.join()
    assert not failures and count[0] > 100


def test_a_secret_is_replaced_on_one_node_after_the_other_and_the_former_one_is_needed_no_more(trio):
    c = trio(count=2)
    former, new = c.content(0, [])["cluster"]["secret"], "another secret of thirty-two bytes"
    steps = [{"secret": former, "formerSecret": new}, {"secret": new, "formerSecret": former}]
    for step in steps:
        for number, node in enumerate(c.nodes):
            node.reload({**c.content(number, answered("one")), "cluster": {"name": "test", **step}})
    until(lambda: revisions(c.nodes[0])[0][1] == "resealed", "what is in force is sealed with the new secret")
    until(lambda: c.nodes[0].standing(2)["complete"], "all nodes have it")
    for number, node in enumerate(c.nodes):
        node.stop()
        node.write({**c.content(number, answered("one")), "cluster": {"name": "test", "secret": new}})
        node.start()
    c.nodes[0].apply({**c.content(0, answered("two")), "cluster": {}})
    assert [said(node) for node in c.nodes] == ["two"] * 2


def test_verbs_say_what_a_node_without_a_cluster_lacks(gateway, origin):
    node = gateway(origin())
    for words in (["history"], ["rollback", "1"], ["diff", "1", "2"], ["plan", node.file], ["apply", node.file]):
        status, _, err = verb(node, *words)
        assert status == 1 and "No cluster (409)" in err and "cluster.secret" in err
