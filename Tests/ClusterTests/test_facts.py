"""Keys and revocations as data of the cluster: what is made, changed or revoked through one node holds on all three."""

import hashlib
import json
import re
import shutil
import socket
import time

import pytest

from support import Gateway, accepts, ask, configuration, connect, route, sluice, until

SECRET = "a secret of thirty-two bytes, say"
STATIC = "static-key-of-the-file"
CONSUMERS = [{"id": "app", "tenant": "acme", "groups": ["gold"],
              "keys": [{"id": "k1", "sha256": hashlib.sha256(STATIC.encode()).hexdigest()}]}]


def keyed(name="keyed", path="/*", **options):
    return route(name, path, policies=[{"type": "api-key", **options}])


class Nodes:
    """Three nodes that agree through one Redis."""

    def __init__(self, folder, redis, up, count=3, routes=None):
        self.redis, self.up, self.routes = redis, up, routes or [keyed()]
        self.nodes = []
        for number in range(count):
            home = folder / f"node-{number + 1}"
            home.mkdir()
            content = configuration(
                up, routes=self.routes, node={"name": f"node-{number + 1}", "state": str(home / "state")},
                store=redis.url, cluster={"name": "test", "secret": SECRET}, tenants=[{"id": "acme"}], consumers=CONSUMERS)
            self.nodes.append(Gateway(home, content))
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            until(lambda: node.is_ready(), f"a node is ready: {node.said()}")
        self.until_members(count)

    def until_members(self, count):
        def alive():
            nodes = json.loads(self.api(0, "GET", "/v1/nodes").body)["nodes"]
            return sum(node["alive"] for node in nodes) == count
        until(alive, f"{count} members know of each other")

    def api(self, node, method, path, body=None):
        stream = connect(self.nodes[node].admin)
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        stream.send(head.encode() + b"\r\n" + data)
        response = stream.response()
        stream.close()
        return response

    def call(self, node, key=None, path="/"):
        """Status, problem code and the whole answer of one request."""
        fields = [("X-API-Key", key)] if key else []
        answer = ask(self.nodes[node].port, path=path, headers=fields)
        code = re.search(rb"urn:sluice:problem:([a-z-]+)", answer.body)
        return answer.status, code[1].decode() if code else None, answer

    def on_all(self, key):
        return [self.call(number, key)[:2] for number in range(len(self.nodes))]

    def create(self, node=0, consumer="app", **more):
        answer = self.api(node, "POST", "/v1/keys?wait=3s", {"consumer": consumer, **more})
        assert answer.status == 201, answer.body
        made = json.loads(answer.body)
        assert made["receipt"]["nodes"] == made["receipt"]["of"] == len(self.nodes), made
        return made

    def verb(self, *words, node=0):
        return sluice(*words, "--admin", f"127.0.0.1:{self.nodes[node].admin}")

    def close(self):
        for node in self.nodes:
            node.__exit__()


@pytest.fixture
def cluster(tmp_path, redis, origin):
    made = []

    def start(**options):
        made.append(Nodes(tmp_path, redis(), origin(), **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


PASSES, INVALID, REVOKED = (200, None), (401, "api-key-invalid"), (401, "key-revoked")


def test_a_key_made_on_one_node_holds_on_all_until_it_is_disabled_or_expires(cluster):
    c = cluster()
    made = c.create()
    key = made["key"]
    assert re.fullmatch(r"slk_[0-9A-Za-z]{10}_[0-9A-Za-z]{33}", key)
    assert made["receipt"]["milliseconds"] < 1000
    assert c.on_all(key) == [PASSES] * 3
    assert c.call(0, key[:-9] + ("A" if key[-9] != "A" else "B") + key[-8:])[:2] == (401, "api-key-mistyped")
    assert c.api(1, "PATCH", f"/v1/keys/{made['id']}?wait=3s", {"state": "disabled"}).status == 200
    assert c.on_all(key) == [INVALID] * 3
    assert c.api(2, "PATCH", f"/v1/keys/{made['id']}?wait=3s", {"state": "active"}).status == 200
    assert c.on_all(key) == [PASSES] * 3
    # Rotated: both are valid, until the old one's overlap is over.
    answer = c.api(0, "POST", f"/v1/keys/{made['id']}/rotate?wait=3s", {"overlap": "1s"})
    assert answer.status == 201, answer.body
    fresh = json.loads(answer.body)["key"]
    assert c.on_all(fresh) == [PASSES] * 3
    until(lambda: c.on_all(key) == [INVALID] * 3, "the old key expires everywhere")
    assert c.on_all(fresh) == [PASSES] * 3
    listed = json.loads(c.api(1, "GET", "/v1/keys?consumer=app").body)
    assert {k["id"] for k in listed["keys"]} == {made["id"], json.loads(answer.body)["id"]}
    assert key.encode() not in c.api(1, "GET", "/v1/keys").body
    # A consumer of the key's own, and one that nobody knows.
    own = c.create(consumer={"id": "visitor", "tenant": "acme", "groups": ["trial"]})
    assert c.on_all(own["key"]) == [PASSES] * 3
    assert c.api(0, "POST", "/v1/keys", {"consumer": "nobody"}).status == 404
    line = until(lambda: [e for e in c.nodes[2].log() if e.get("consumer") == "visitor"], "the log names the consumer")[0]
    assert line["key"] == own["id"]


def test_a_key_in_use_is_refused_everywhere_once_it_is_revoked(cluster):
    c = cluster()
    made = c.create()
    assert c.on_all(STATIC) == [PASSES] * 3
    done = c.verb("revoke", "--key", made["id"], "--reason", "leaked", "--wait")
    assert done.returncode == 0, done.stderr
    assert re.search(r"effective on 3 of 3 nodes after \d+ ms", done.stdout), done.stdout
    assert c.on_all(made["key"]) == [REVOKED] * 3
    assert c.on_all(STATIC) == [PASSES] * 3
    # A key of the file, by its consumer's name; then all of a subject; what is made later is good.
    assert c.verb("revoke", "--key", "app/k1", "--wait").returncode == 0
    assert c.on_all(STATIC) == [REVOKED] * 3
    before = c.create()
    until(lambda: time.time() % 1 < 0.5, "a second has begun")
    time.sleep(1.01)
    assert c.verb("revoke", "--subject", "app", "--wait", node=2).returncode == 0
    assert c.on_all(before["key"]) == [REVOKED] * 3
    assert c.on_all(c.create(node=1)["key"]) == [PASSES] * 3
    listed = json.loads(c.api(1, "GET", "/v1/revocations").body)["revocations"]
    assert {(r["kind"], r["id"]) for r in listed} == {("key", made["id"]), ("key", "app/k1"), ("subject", "app")}
    # The receipt tells who is missing.
    c.nodes[2].signal(19)
    try:
        done = c.verb("revoke", "--tenant", "acme", "--wait", "500ms")
        assert done.returncode == 1 and "2 of 3" in done.stdout, (done.stdout, done.stderr)
        assert "node-3" in done.stdout
    finally:
        c.nodes[2].signal(18)
    until(lambda: c.on_all(before["key"]) == [REVOKED] * 3, "the third node has it as well")


def test_a_restarted_node_is_not_ready_before_it_knows_what_is_revoked(cluster):
    c = cluster()
    made = c.create()
    assert c.verb("revoke", "--key", made["id"], "--wait").returncode == 0
    c.nodes[0].process.kill()
    c.nodes[0].process.wait()
    c.redis.pause()
    try:
        c.nodes[0].start(wait=False)
        until(lambda: accepts(c.nodes[0].admin), "the process is up")
        assert ask(c.nodes[0].admin, path="/readyz").status == 503
    finally:
        c.redis.resume()
    until(lambda: c.nodes[0].is_ready(), "the node has caught up")
    assert c.call(0, made["key"])[:2] == REVOKED


def test_what_redis_lost_comes_back_from_the_nodes(cluster):
    c = cluster()
    kept, gone = c.create(), c.create()
    assert c.verb("revoke", "--key", gone["id"], "--wait").returncode == 0
    c.redis.ask("FLUSHALL")
    assert c.on_all(gone["key"]) == [REVOKED] * 3
    # The log goes on, and a node that knows nothing learns all of it.
    late = until(lambda: (a := c.api(1, "POST", "/v1/keys?wait=3s", {"consumer": "app"})).status == 201 and a, "keys can be made")
    c.nodes[2].process.kill()
    c.nodes[2].process.wait()
    c.nodes[2].start(wait=False)
    until(lambda: c.nodes[2].is_ready(), "the node has caught up")
    assert c.on_all(gone["key"]) == [REVOKED] * 3
    assert c.on_all(kept["key"]) == [PASSES] * 3
    assert c.on_all(json.loads(late.body)["key"]) == [PASSES] * 3


def test_while_redis_is_away_each_route_does_what_its_policy_says(cluster):
    c = cluster(count=1, routes=[
        keyed("open", "/open"), keyed("closed", "/closed", onStaleRevocations="closed"),
        keyed("ask", "/ask", onStaleRevocations="ask")])
    assert [c.call(0, STATIC, f"/{p}")[0] for p in ("open", "closed", "ask")] == [200, 200, 200]
    c.redis.pause()
    try:
        until(lambda: c.call(0, STATIC, "/closed")[:2] == (503, "revocations-stale"), "the node knows that it may miss something")
        status, _, answer = c.call(0, STATIC, "/open")
        assert status == 200 and answer.get("Sluice-Degraded") == "revocations"
        until(lambda: c.verb("status").returncode == 1, "status says that the store is away")
        assert c.verb("status", "--json").returncode == 1
        assert c.call(0, STATIC, "/ask")[:2] == (503, "revocations-stale")
    finally:
        c.redis.resume()
    until(lambda: c.call(0, STATIC, "/closed")[0] == 200, "the node knows again")
    assert c.call(0, STATIC, "/open")[2].get("Sluice-Degraded") is None


def raw(redis, *words):
    """A command whose words are bytes."""
    words = [word if isinstance(word, bytes) else word.encode() for word in words]
    with socket.create_connection(("127.0.0.1", redis.port), 5) as s:
        s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return redis.answer(s.makefile("rb"))


def test_a_route_that_asks_hears_from_the_store_what_its_node_missed(cluster):
    routes = [keyed("ask", "/ask", onStaleRevocations="ask"), keyed("open", "/open")]
    c = cluster(count=1, routes=routes)
    assert c.verb("revoke", "--key", "app/k1", "--wait").returncode == 0
    revoked = raw(c.redis, "HGETALL", "sluice:test:{cluster}:facts:r")
    assert len(revoked) == 2
    # The same node again, which knows of nothing.
    c.nodes[0].stop()
    shutil.rmtree(c.nodes[0].folder / "state", ignore_errors=True)
    c.redis.ask("FLUSHALL")
    c.nodes[0].start()
    assert c.call(0, STATIC, "/ask")[0] == 200
    # From now on the log cannot be read, but what is revoked can be asked for.
    raw(c.redis, "DEL", "sluice:test:{cluster}:facts:meta")
    raw(c.redis, "SET", "sluice:test:{cluster}:facts:meta", "broken")
    until(lambda: c.call(0, STATIC, "/open")[2].get("Sluice-Degraded") == "revocations", "the node may have missed something")
    assert c.call(0, STATIC, "/ask")[:2] == PASSES
    raw(c.redis, "HSET", "sluice:test:{cluster}:facts:r", *revoked)
    assert c.call(0, STATIC, "/ask")[:2] == REVOKED
    assert c.call(0, STATIC, "/open")[:2] == PASSES


def test_a_consumer_that_exists_through_its_keys_alone_can_be_asked_about(cluster):
    limit = {"type": "rate-limit", "mode": "exact", "limits": [{"per": "consumer", "window": "100/1d"}]}
    respond = {"type": "respond", "status": 200}
    routes = [route("limited", "/limited", policies=[{"type": "api-key"}, limit, respond])]
    c = cluster(routes=routes)
    own = c.create(consumer={"id": "visitor", "tenant": "acme"})
    for _ in range(5):
        until(lambda: c.call(1, own["key"], "/limited")[0] == 200, "the visitor is served")
    assert c.verb("usage", "nobody").returncode == 1

    def used():
        told = json.loads(c.verb("usage", "visitor", "--json", node=1).stdout)
        return told["tenant"] == "acme" and [limit["used"] for limit in told["limits"]] == [5]

    until(used, "the node knows what it has used")
    for words in (["--consumer", "visitor"], ["--consumer", "visitor", "--key", own["id"]]):
        told = c.verb("explain", "--route", "limited", *words, "--json")
        assert json.loads(told.stdout)["consumer"] == "visitor", told
    other = c.create(consumer="app")
    assert c.verb("explain", "--route", "limited", "--consumer", "visitor", "--key", other["id"]).returncode == 1
    # A plan that lowers the limit looks at them too, and says at how many.
    content = json.loads(c.nodes[0].file.read_text())
    content["routes"][0]["policies"][1]["limits"][0]["window"] = "3/1d"
    path = c.nodes[0].folder / "lower.json"
    path.write_text(json.dumps(content))
    told = c.verb("plan", path, node=1).stdout
    assert "visitor: has used 5 of \"limited/rate-limit/consumer\", which will allow 3" in told, told
    assert "looked at all 2 consumers: 1 of them are over a new limit now" in told, told
