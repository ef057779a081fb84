"""Revisions of the configuration on eight nodes: how soon all have one, what requests notice of it, and what a thousand leave
behind.

A revision is in force on a node when a request there gets the new answer, not when the node says so. Each node has one loop;
all of them, the load and Redis share this machine, which is far less than a node has for itself elsewhere.
"""

import dataclasses
import http.client
import itertools
import json
import pathlib
import statistics
import subprocess
import threading
import time

import harness as h
import stores

NODES = 8
APPLIES = 100
RATE = 1000
REVISIONS = 1000
# Requests that go on while the first figures are taken, all nodes together.
BACKGROUND = 400


class Member(h.Server):
    """One of the nodes, with connections that are kept to its port and to its admin port."""

    def __init__(self, number, store, upstream_port, cluster="revisions"):
        self.number, self.store, self.upstream_port = number, store, upstream_port
        port, self.admin = h.free_port(), h.free_port()
        path = h.WORK / f"{cluster}-{number}.json"
        super().__init__(f"{cluster}-{number}", [str(h.SLUICE), "run", "-c", str(path)], port, h.CORES)
        path.write_text(json.dumps({
            "node": {"name": f"node-{number}", "threads": 1},
            "listeners": [f"127.0.0.1:{port}"], "admin": {"address": f"127.0.0.1:{self.admin}"}, "accessLog": "off",
            "store": store.url, "cluster": {"name": cluster, "secret": stores.SECRET}, **content(upstream_port, 0),
        }))

    def start(self, wait=20):
        super().start(wait)
        self.front = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.back = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        return self

    def said(self):
        self.front.request("GET", "/said")
        return self.front.getresponse().read()

    def apply(self, number):
        self.back.request(
            "PUT", "/v1/config", json.dumps(content(self.upstream_port, number)), {"Content-Type": "application/json"})
        response = self.back.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"revision {number} was answered with {response.status}: {body.decode()}")

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))


@dataclasses.dataclass
class Swaps:
    """What `measure_swaps` found: p99 in milliseconds of each round, without and with revisions."""

    quiet: list
    swapping: list
    failed: int
    requests: int

    @property
    def added(self):
        return statistics.median(self.swapping) - statistics.median(self.quiet)

    def figures(self):
        return {
            "p99 ms, quiet": h.summary(self.quiet), "p99 ms, a revision each 200 ms": h.summary(self.swapping),
            "requests": self.requests, "failed": self.failed,
        }


def content(upstream_port, number):
    """What all nodes serve: fifty routes, one of which says which revision it is."""
    routes = [{"id": f"r{i}", "match": {"path": f"/r{i}/*"}, "upstream": "up"} for i in range(48)]
    says = [{"type": "respond", "status": 200, "body": f"{number}"}]
    return {
        "upstreams": {"up": {"endpoints": [f"127.0.0.1:{upstream_port}"]}},
        "routes": [
            *routes, {"id": "said", "match": {"path": "/said"}, "policies": says},
            {"id": "all", "match": {"path": "/*"}, "upstream": "up"},
        ],
    }


def load(server, rate, seconds, stop=None):
    """The bundled generator's own account of an open loop; with `stop` a process that goes on in the background."""
    command = h.pinned([
        str(h.SLUICE), "bench", "--rate", str(rate), "--connections", "16", "--duration", f"{seconds}s", "--quiet",
        "--json", "-", f"http://127.0.0.1:{server.port}/"])
    if stop:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def until_said(members, number, began):
    """Milliseconds since `began` until the last node gives the answer of revision `number`."""
    wanted, waiting = str(number).encode(), list(members)
    while waiting:
        waiting = [member for member in waiting if member.said() != wanted]
        if time.monotonic() - began > 10:
            raise SystemExit(f"after ten seconds {len(waiting)} of {len(members)} nodes do not have revision {number}")
    return (time.monotonic() - began) * 1e3


def measure_spread(members, numbers):
    """From the request to apply until every node answers by it."""
    found = []
    for count in range(APPLIES):
        number = next(numbers)
        began = time.monotonic()
        members[count % len(members)].apply(number)
        found.append(until_said(members, number, began))
        h.progress(f"apply {count + 1}/{APPLIES}: {found[-1]:.1f} ms")
    return sorted(found)


def measure_swaps(nodes, numbers, options):
    """An open loop at the first of the nodes, with a revision each 200 ms and without, in turn. Eight nodes on few cores
    rather tell how they wait for each other than what a swap costs, so that both are measured."""
    node, turns = nodes[0], itertools.cycle(nodes)
    quiet, swapping, failed, requests = [], [], 0, 0
    for number in range(options.rounds):
        for swaps, into in ((False, quiet), (True, swapping)):
            over = threading.Event()

            def apply():
                while not over.wait(0.2):
                    next(turns).apply(next(numbers))

            thread = threading.Thread(target=apply)
            if swaps:
                thread.start()
            account = load(node, RATE, options.seconds)
            over.set()
            if swaps:
                thread.join()
            into.append(account["latencyNanoseconds"]["p99"] / 1e6)
            failed += account["requests"] - account["statuses"].get("200", 0)
            requests += account["requests"]
        h.progress(f"{len(nodes)} nodes, round {number + 1}: p99 {quiet[-1]:.2f} ms, swapping {swapping[-1]:.2f} ms")
    return quiet, swapping, failed, requests


def measure_many(members, numbers):
    """What a thousand revisions under load add to each node."""
    background = load(members[0], RATE, 3600, stop=True)
    try:
        for count in range(3 * len(members)):
            members[count % len(members)].apply(next(numbers))
        time.sleep(1)
        memory = [member.resident_bytes() for member in members]
        descriptors = [member.descriptors() for member in members]
        for count in range(REVISIONS):
            members[count % len(members)].apply(next(numbers))
            if count % 50 == 0:
                h.progress(f"revision {count} of {REVISIONS}")
        last = next(numbers)
        began = time.monotonic()
        members[0].apply(last)
        until_said(members, last, began)
        time.sleep(1)
        grown = [member.resident_bytes() / before - 1 for member, before in zip(members, memory)]
        # The first node has connections of the load, whose number varies.
        more = [member.descriptors() - before for member, before in zip(members, descriptors)][1:]
    finally:
        background.terminate()
        background.wait()
    return memory, grown, more


def run(options):
    if options.peers_only:
        return {}
    numbers = iter(range(1, 1 << 30))
    members = []
    with h.upstream() as up, stores.Redis("revisions-redis") as store:
        try:
            for number in range(NODES):
                members.append(Member(number, store, up.port).start())
            background = load(members[0], BACKGROUND, 3600, stop=True)
            try:
                time.sleep(2)
                spread = measure_spread(members, numbers)
            finally:
                background.terminate()
                background.wait()
            eight = Swaps(*measure_swaps(members, numbers, options))
            memory, grown, more = measure_many(members, numbers)
        finally:
            for member in members:
                member.stop()
        with Member(0, store, up.port, "alone") as node:
            time.sleep(1)
            alone = Swaps(*measure_swaps([node], numbers, options))
    h.done()
    p50, p99 = spread[len(spread) // 2], spread[int(len(spread) * 0.99)]
    return {
        "nodes": NODES, "applies": len(spread), "ms to all nodes": h.summary(spread),
        "alone": alone.figures(), "one of eight": eight.figures(),
        "MiB resident before": statistics.median(memory) / 2**20,
        "percent more after 1,000 revisions": max(grown) * 100, "descriptors more": max(more),
        "goals": [
            h.goal("ms from apply to all of 8 nodes, p50", p50, 100),
            h.goal("ms from apply to all of 8 nodes, p99", p99, 1000),
            h.goal("ms added to p99 by a revision each 200 ms, alone", alone.added, 1.0),
            h.goal("ms added to p99 by a revision each 200 ms, one of 8", eight.added, 1.0),
            h.goal("requests dropped", alone.failed + eight.failed, 0),
            h.goal("percent of memory more after 1,000 revisions", max(grown) * 100, 5),
            h.goal("descriptors more after 1,000 revisions", max(more), 0),
        ],
    }
