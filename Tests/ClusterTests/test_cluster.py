"""Nodes that agree: who is there, who leads, and what happens when the leader dies, stops or goes."""

import json
import threading
import time
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from nodes import limited
from support import connect, sluice, until

LEASE = 3
# A takeover: the lease, and half a second.
BOUND = LEASE + 0.5
# The longest that a request may take where nothing is asked of anybody, one in a hundred aside: a busy machine.
PROMPT = 0.1


class Lead:
    """What the store knows of the lead."""

    def __init__(self, redis):
        self.redis = redis

    def get(self, field):
        value = self.redis.ask("HGET", "sluice:test:{cluster}:lead", field)
        return value.decode() if isinstance(value, bytes) else ""

    def name(self):
        return self.get("name")

    def epoch(self):
        return int(self.get("epoch"))

    def taken_from(self, name, since):
        """Waits for another leader than `name`; returns who, and after how many seconds since the moment `since`."""
        found = until(lambda: (now := self.name()) not in ("", name) and now, "another node leads", BOUND + 3)
        return found, time.monotonic() - since


class Traffic:
    """Requests to nodes of a cluster, one after the other on a connection to each, until told to stop."""

    def __init__(self, nodes):
        self.failures, self.seconds, self.ends = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(node,), daemon=True) for node in nodes]
        for thread in self.threads:
            thread.start()

    def run(self, node):
        try:
            with connect(node.port) as stream:
                while not self.ends.is_set():
                    began = time.monotonic()
                    stream.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    status = stream.response().status
                    self.seconds.append(time.monotonic() - began)
                    if status != 200:
                        self.failures.append(status)
                    time.sleep(0.002)
        except (OSError, EOFError) as error:
            self.failures.append(error)

    def stop(self):
        self.ends.set()
        for thread in self.threads:
            thread.join(10)
        self.seconds.sort()
        assert self.failures == [] and len(self.seconds) > 100
        assert self.seconds[len(self.seconds) * 99 // 100] < PROMPT, self.seconds[-5:]


@pytest.fixture
def nodes(cluster):
    """Three nodes by name, the lead, and one that leads."""
    c = cluster(limited({"window": "100000000/1h"}, onStoreFailure="open"))
    c.lead = Lead(c.redis)
    c.by_name = {f"node-{number + 1}": node for number, node in enumerate(c.nodes)}
    until(c.lead.name, "somebody leads")
    until(lambda: [gauge(node, "members") for node in c.nodes] == [3, 3, 3], "all have the list of all")
    return c


def gauge(node, name):
    return node.metrics()[f"sluice_cluster_{name}"].samples[0].value


def status(node, *arguments):
    return sluice("status", "--admin", f"127.0.0.1:{node.admin}", *arguments)


def others_of(c, name):
    return [node for other, node in c.by_name.items() if other != name]


def test_status_shows_three_nodes_and_one_leader_on_each(nodes):
    leader = nodes.lead.name()
    for node in nodes.nodes:
        shown = status(node)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        rows = [line.split() for line in shown.stdout.splitlines()]
        assert [row[:3] for row in rows[1:4]] == [
            [name, "leader" if name == leader else "member", "ready"] for name in sorted(nodes.by_name)]
        assert f"{leader} leads in epoch {nodes.lead.epoch()}" in shown.stdout
        told = json.loads(status(node, "--json").stdout)
        assert [n["name"] for n in told["nodes"] if n["role"] == "leader"] == [leader]
        by_name = {n["name"]: n for n in told["nodes"]}
        assert by_name["node-1"]["listeners"] == [f"127.0.0.1:{nodes.nodes[0].port}"]
        assert told["storeUp"] and all(n["alive"] and n["listed"] for n in told["nodes"])
    assert sorted(gauge(node, "leader") for node in nodes.nodes) == [0, 0, 1]


def test_a_node_without_a_cluster_shows_itself_and_says_what_it_lacks(gateway, origin):
    shown = status(gateway(origin()))
    assert shown.returncode == 0 and "no cluster" in shown.stdout and "ready" in shown.stdout


def test_a_killed_leader_is_followed_within_its_lease_and_half_a_second(nodes):
    leader, epoch = nodes.lead.name(), nodes.lead.epoch()
    others = others_of(nodes, leader)
    traffic = Traffic(others)
    began = time.monotonic()
    nodes.by_name[leader].signal(SIGKILL)
    next_leader, seconds = nodes.lead.taken_from(leader, began)
    assert seconds <= BOUND and nodes.lead.epoch() > epoch
    until(lambda: sorted(gauge(node, "leader") for node in others) == [0, 1], "the two agree")
    # Dead after five seconds; the one that started anew is another member.
    until(lambda: [gauge(node, "members") for node in others] == [2, 2], "the dead one is off the list", 8)
    shown = status(nodes.by_name[next_leader])
    assert shown.returncode == 1 and "gone for" in shown.stdout and "2 of 3 nodes" in shown.stdout
    nodes.by_name[leader].start()
    until(lambda: status(nodes.by_name[next_leader]).returncode == 0, "three nodes again")
    traffic.stop()


def test_a_leader_that_was_stopped_steps_down_when_it_goes_on(nodes):
    leader, epoch = nodes.lead.name(), nodes.lead.epoch()
    old = nodes.by_name[leader]
    traffic = Traffic(others_of(nodes, leader))
    began = time.monotonic()
    old.signal(SIGSTOP)
    next_leader, seconds = nodes.lead.taken_from(leader, began)
    assert seconds <= BOUND and nodes.lead.epoch() > epoch
    old.signal(SIGCONT)
    until(lambda: gauge(old, "leader") == 0 and gauge(old, "epoch") == nodes.lead.epoch(), "the old leader follows")
    # What it had in mind as the leader was refused: the lead is where it was, renewed by its owner.
    assert nodes.lead.name() == next_leader
    serial = int(nodes.lead.get("serial"))
    until(lambda: int(nodes.lead.get("serial")) > serial, "the new leader renews")
    assert nodes.lead.name() == next_leader and [gauge(node, "members") for node in nodes.nodes] == [3, 3, 3]
    traffic.stop()


def test_a_leader_that_ends_hands_over_in_far_less_than_a_lease(nodes):
    leader, epoch = nodes.lead.name(), nodes.lead.epoch()
    others = others_of(nodes, leader)
    traffic = Traffic(others)
    began = time.monotonic()
    nodes.by_name[leader].signal(SIGTERM)
    _, seconds = nodes.lead.taken_from(leader, began)
    assert seconds < 0.5 and nodes.lead.epoch() > epoch
    until(lambda: [gauge(node, "members") for node in others] == [2, 2], "whoever leaves is off the list at once", 2)
    assert status(others[0]).returncode == 0
    traffic.stop()


def test_without_redis_nodes_serve_and_status_says_what_they_knew(nodes):
    traffic = Traffic(nodes.nodes)
    nodes.redis.pause()
    until(lambda: [gauge(node, "leader") for node in nodes.nodes] == [0, 0, 0], "nobody believes to lead", LEASE + 1)
    shown = until(lambda: (s := status(nodes.nodes[0])).returncode == 1 and s, "status says so", 5)
    assert "does not reach the store" in shown.stdout and "node-3" in shown.stdout
    nodes.redis.resume()
    until(lambda: status(nodes.nodes[0]).returncode == 0, "all is well again", BOUND + 2)
    assert [gauge(node, "members") for node in nodes.nodes] == [3, 3, 3]
    traffic.stop()
