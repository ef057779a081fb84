"""A store that is split in two: the old primary and one node on an island, everybody else on the shore."""

import contextlib
import hashlib
import json
import subprocess
import threading
import time

import pytest

import islands
from nodes import SECRET, shares
from support import Gateway, Redis, ask, configuration, connect, sluice, until

KEY = "a key of the file"
LIMIT = 900
# Requests a second and route that each node is sent.
PACE = 50
# Within so many seconds a primary that is cut off stops counting: it looks once a second whether a replica has answered
# within the last whole second.
DEPOSED = 3
# What a busy machine may add to each of these, in seconds.
SLACK = 0.5
# Within so many seconds a revocation is in force, or the node knows that it may miss one.
STALE = 2


class Sentinel(Redis):
    """A sentinel of the group "m", which notices within half a second that a server is away."""

    def __init__(self, folder, host, primary):
        self.host, self.primary = host, primary
        super().__init__(folder)

    def start(self):
        file = self.folder / f"sentinel-{self.port}.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1 {self.host}\nprotected-mode no\ndir {self.folder}\n"
            f"sentinel monitor m {self.primary} 2\nsentinel down-after-milliseconds m 500\n"
            "sentinel failover-timeout m 3000\n")
        with open(self.folder / f"sentinel-{self.port}.log", "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", str(file), "--sentinel"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self.answers, "the sentinel answers")
        # What it does by the second or slower, so that the old primary is taken back soon.
        assert self.ask("SENTINEL DEBUG info-period 500 publish-period 250") == "+OK"
        return self

    def knows(self):
        facts = self.ask("SENTINEL MASTER m")
        facts = dict(zip(facts[::2], facts[1::2]))
        return facts[b"num-slaves"] == b"2" and facts[b"num-other-sentinels"] == b"2"


def server(folder, host, *options):
    return Redis(
        folder, "--bind", "127.0.0.1", host, "--protected-mode", "no", "--min-replicas-to-write", "1",
        "--min-replicas-max-lag", "1", "--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb", *options)


def routes(saying="one"):
    answer = {"type": "respond", "status": 200, "body": saying}

    def limited(name, failure, mode="exact"):
        limit = {"type": "rate-limit", "mode": mode, "onStoreFailure": failure,
                 "limits": [{"per": "route", "window": f"{LIMIT}/1d"}]}
        return {"id": name, "match": {"path": f"/{name}"}, "policies": [limit, answer]}

    def keyed(rule):
        return {"type": "api-key", "onStaleRevocations": rule}

    return [
        limited("closed", "closed"), limited("local", "local"), limited("strict", "closed", "strict"),
        {"id": "keyed", "match": {"path": "/keyed"}, "policies": [keyed("closed"), answer]},
        {"id": "asked", "match": {"path": "/asked"}, "policies": [keyed("ask"), answer]},
        {"id": "said", "match": {"path": "/said"}, "policies": [answer]},
    ]


class Split:
    """The first node, its sentinel and the first primary are on the island."""

    def __init__(self, folder, island):
        self.folder, self.island = folder, island
        self.servers, self.nodes = [], []
        self.sent = []  # (when, node, path, status)
        self.faults = []
        self.numbers = [[], [], []]
        self.over = threading.Event()
        self.threads = []

    def start(self):
        with self.island as at:
            self.primary = self.keep(server(self.folder, at.address))
            first = self.keep(Sentinel(self.folder, at.address, f"{at.address} {self.primary.port}"))
        of = ("--replicaof", f"{at.address} {self.primary.port}")
        self.replicas = [self.keep(server(self.folder, at.shore, *of)) for _ in range(2)]

        def are_in_step():
            return all(b"master_link_status:up" in each.ask("INFO replication") for each in self.replicas)

        until(are_in_step, "both replicas are in step")
        self.sentinels = [first] + [
            self.keep(Sentinel(self.folder, at.shore, f"{at.address} {self.primary.port}")) for _ in range(2)]
        until(lambda: all(each.knows() for each in self.sentinels[1:]), "the sentinels know of all")
        addresses = [f"{each.host}:{each.port}" for each in self.sentinels]
        for number in range(3):
            home = self.folder / f"node-{number + 1}"
            home.mkdir()
            with self.at(number):
                self.nodes.append(Gateway(home, self.content(number, addresses)).start())
            if number == 0:
                until(lambda: self.leader(0) == "node-1", "the node on the island leads")
        until(lambda: len(self.members(0)) == 3, "three members know of each other")
        with self.island:
            until(lambda: shares(self.primary) == [1] * 3, "all nodes have a share", 15)

    def keep(self, process):
        self.servers.append(process)
        return process

    def at(self, number):
        return self.island if number == 0 else contextlib.nullcontext()

    def content(self, number, addresses=None, saying="one"):
        self.addresses = addresses or self.addresses
        key = {"id": "k1", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}
        return configuration(
            "127.0.0.1:9", routes=routes(saying), node={"name": f"node-{number + 1}"},
            store={"sentinel": {"name": "m", "addresses": self.addresses}}, cluster={"name": "test", "secret": SECRET},
            consumers=[{"id": "app", "keys": [key]}])

    # --- Questions -----------------------------------------------------------------------------------------------------

    def api(self, number, method="GET", path="/", **options):
        with self.at(number):
            return ask(self.nodes[number].admin, method, path, **options)

    def verb(self, number, *words):
        with self.at(number):
            return sluice(*words, "--admin", f"127.0.0.1:{self.nodes[number].admin}")

    def view(self, number):
        return self.api(number, path="/v1/nodes").json()

    def leader(self, number):
        view = self.view(number)
        return (view["leader"] or {}).get("name") if view["storeUp"] else None

    def members(self, number):
        return {node["name"] for node in self.view(number)["nodes"] if node["alive"]}

    def put(self, number, saying, **options):
        body = json.dumps(self.content(number, saying=saying)).encode()
        return self.api(number, "PUT", "/v1/config", headers=[("Content-Type", "application/json")], body=body, **options)

    def said(self, number):
        with self.at(number):
            return ask(self.nodes[number].port, path="/said").body.decode()

    def running(self, number):
        """The revision that a node says it runs, as itself."""
        view = self.view(number)
        return next(node["revision"] for node in view["nodes"] if node["id"] == view["node"])

    def revisions(self, number):
        reply = self.api(number, path="/v1/config/revisions")
        return [each["revision"] for each in reply.json()["revisions"]] if reply.status == 200 else None

    # --- Load ----------------------------------------------------------------------------------------------------------

    def load(self):
        for number in range(3):
            self.threads.append(threading.Thread(target=self.drive, args=(number,)))
            self.threads[-1].start()

    def drive(self, number):
        try:
            with self.at(number):
                stream = connect(self.nodes[number].port)
            due = time.monotonic()
            while not self.over.wait(max(0, due - time.monotonic())):
                # What could not be sent in time is left out.
                due = max(due + 1 / PACE, time.monotonic() - 0.5)
                for path in ("/closed", "/local", "/strict", "/keyed", "/asked"):
                    field = f"X-API-Key: {KEY}\r\n" if path in ("/keyed", "/asked") else ""
                    when = time.monotonic()
                    stream.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n")
                    self.sent.append((when, number, path, stream.response().status))
        except Exception as error:  # told by the test
            self.faults.append((number, repr(error)))

    def watch(self):
        """Keeps what each node says that it runs."""

        def look():
            while not self.over.wait(0.05):
                for number in range(3):
                    self.numbers[number].append(self.running(number))

        self.threads.append(threading.Thread(target=look))
        self.threads[-1].start()

    def last(self, path, number):
        """When a node last let something through."""
        return max(when for when, node, where, status in list(self.sent) if (node, where, status) == (number, path, 200))

    def are_refused(self, path):
        """Whether the last that each node was asked was refused for good."""
        last = {number: status for _, number, where, status in list(self.sent) if where == path}
        return list(last.values()) == [429] * 3

    def passed(self, path, nodes=(0, 1, 2), since=0.0, until=float("inf")):
        return sum(
            status == 200 and where == path and node in nodes and since <= when < until
            for when, node, where, status in list(self.sent))

    def settle(self):
        self.over.set()
        for thread in self.threads:
            thread.join(20)

    def close(self):
        self.settle()
        for each in self.nodes:
            each.__exit__()
        for each in self.servers:
            each.close()


@pytest.fixture
def split(tmp_path):
    if reason := islands.why_not():
        islands.pass_elsewhere(__file__, reason)
    island = islands.Island()
    made = Split(tmp_path, island)
    try:
        made.start()
        yield made
    finally:
        made.close()
        island.close()


def test_a_split_store_admits_little_more_obeys_one_leader_and_loses_no_revocation(split):
    s = split
    s.load()
    s.watch()
    until(lambda: s.passed("/closed") >= LIMIT / 3 and s.passed("/keyed", [0]), "the nodes are at work")
    s.island.cut()
    cut = time.monotonic()
    # The leader on the island does not know yet, and publishes what nobody on the shore will hear of.
    lost = s.put(0, "what is lost")
    assert lost.status == 200 and lost.json()["revision"] == 2, lost.body

    # What is revoked in the first moment of the new primary.
    def revoke():
        began = time.monotonic()
        return s.verb(1, "revoke", "--key", "app/k1").returncode == 0 and began

    revoked = until(revoke, "the shore revokes")
    until(lambda: s.leader(1) in ("node-2", "node-3"), "somebody on the shore leads")
    until(lambda: s.put(2, "what holds").status == 200, "the shore applies a revision")
    until(lambda: [s.said(1), s.said(2)] == ["what holds"] * 2, "it is in force there")
    until(lambda: time.monotonic() > cut + DEPOSED + 2 * STALE, "the split has lasted")
    assert s.put(0, "what is refused").status == 503

    # The old primary stopped soon; since the cut the island had no proof of knowing all that is revoked.
    stopped = s.last("/closed", 0)
    assert stopped - cut < DEPOSED + SLACK
    for path in ("/keyed", "/asked"):
        assert s.last(path, 0) < cut + STALE + SLACK
        assert all(s.last(path, number) < revoked + STALE + SLACK for number in (1, 2))

    s.island.heal()
    until(lambda: [s.said(number) for number in range(3)] == ["what holds"] * 3, "the island has what holds", 15)
    until(lambda: len({s.leader(number) for number in range(3)}) == 1 and s.leader(0), "all obey one leader")
    until(lambda: all(map(s.are_refused, ("/closed", "/local", "/strict"))), "the limits are used up", 15)
    s.settle()
    assert not s.faults
    # The island's part for as long as the old primary counted; its share where nothing is asked of the store.
    assert s.passed("/closed") - LIMIT <= PACE * (stopped - cut + SLACK)
    assert s.passed("/local") - LIMIT <= PACE * (stopped - cut + SLACK) + LIMIT / 3
    # Nobody is admitted on the word of a primary without replicas.
    assert s.passed("/strict") <= LIMIT and s.last("/strict", 0) > cut + DEPOSED
    assert s.passed("/strict", [0], cut + 0.1, cut + DEPOSED + 2 * STALE) == 0
    assert all(numbers == sorted(numbers) for numbers in s.numbers), "no node goes back"
    assert len({tuple(s.revisions(number)) for number in range(3)}) == 1
    assert "what holds" in s.api(0, path="/v1/config/revisions/2/text").body.decode()
    assert s.verb(0, "audit", "verify").returncode == 0
