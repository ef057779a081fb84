"""Several nodes of one cluster as processes, and what tests ask of them together."""

import struct
import time

from support import Gateway, configuration, connect, route, until

DEGRADED = "Sluice-Degraded"
SECRET = "a secret of thirty-two bytes, say"


def limited(limit, name="all", path="/*", **options):
    """A route whose requests are all counted together: the address that counts is that of the tests."""
    policy = {"type": "rate-limit", "limits": [{"per": "ip", **limit}], **options}
    return route(name, path, policies=[policy])


# A route for everybody to come up with, whose limit is no part of any test.
WARM = limited({"window": "1000000/1h"}, "warm", "/warm")


def shares(redis):
    """What each node was told last of its part in all limits: 1 where that is a share."""
    found = redis.ask("HGETALL", "sluice:test:{members}:m")
    members = {name: value for name, value in zip(found[::2], found[1::2]) if name != b"all"}
    # It stands behind six numbers of a member.
    return [struct.unpack_from("<d", value, 48)[0] for value in members.values()]


class Router(Gateway):
    """`sluice router`, likewise."""

    verb = "router"


class Cluster:
    """Three nodes on one Redis, and a kept connection to each."""

    def __init__(self, folder, redis, up, routes, count=3, is_up=True, **more):
        self.redis = redis
        self.up = up
        self.more = more
        self.nodes = []
        self.streams = []
        for number in range(count):
            folder_of_node = folder / f"node-{number + 1}"
            folder_of_node.mkdir()
            self.nodes.append(Gateway(folder_of_node, self.content(number, routes)))
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            # Without a store no node is ready: it cannot know who is revoked.
            self.streams.append(connect((node.wait() if is_up else node.wait_for_port()).port))

    def content(self, number, routes):
        more = dict(self.more)
        node = {"name": f"node-{number + 1}", **more.pop("node", {})}
        return configuration(
            self.up, routes=routes, node=node,
            **{"store": self.redis.url, "cluster": {"name": "test", "secret": SECRET}, **more},
        )

    def ask(self, node=0, path="/"):
        """One request on the kept connection to a node; the response carries how long it took."""
        stream = self.streams[node]
        began = time.monotonic()
        stream.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = stream.response()
        response.seconds = time.monotonic() - began
        response.degraded = response.get(DEGRADED)
        return response

    def ask_in_turn(self, count, path="/"):
        return [self.ask(number % len(self.nodes), path) for number in range(count)]

    def until_up(self, path="/"):
        """Until every node decides with Redis; uses units of the route's limit."""
        for number in range(len(self.nodes)):
            until(lambda: (a := self.ask(number, path)).degraded is None and a.status == 200, f"node {number + 1} asks Redis")

    def until_counted(self):
        """Until every node has been told its share of all limits: some seconds after the first of them began."""
        until(lambda: shares(self.redis) == [1] * len(self.nodes), "all nodes have a share", 15)

    def apply(self, routes):
        self.nodes[0].apply(self.content(0, routes))

    def figure(self, name):
        """One of the figures of the shared quota, all nodes together; at most some tenths of a second old."""
        return sum(s.value for node in self.nodes for s in node.metrics()[f"sluice_quota_{name}"].samples)

    def modes(self):
        """Decisions of all nodes by mode."""
        total = {}
        for node in self.nodes:
            for sample in node.metrics()["sluice_quota_decisions"].samples:
                mode = sample.labels["mode"]
                total[mode] = total.get(mode, 0) + int(sample.value)
        return total

    def close(self):
        for stream in self.streams:
            stream.close()
        for node in self.nodes:
            node.__exit__()
