"""The router: nodes come and go behind it, and its clients do not notice."""

import threading
import time
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from nodes import SECRET, WARM, Cluster, Router, limited
from support import ask, connect, ok, sluice, until

PLAIN = {"id": "all", "match": {"path": "/*"}, "upstream": "origin"}


class Load:
    """Clients of a router, each with a connection of its own, one request after the other, until told to stop."""

    def __init__(self, port, clients=8, method="GET", pace=0.0):
        self.port, self.method, self.pace = port, method, pace
        self.answers, self.failures, self.longest, self.ends = 0, [], 0.0, threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        length = "Content-Length: 2\r\n\r\nhi" if self.method == "POST" else "\r\n"
        stream = connect(self.port)
        try:
            while not self.ends.is_set():
                began = time.monotonic()
                stream.send(f"{self.method} / HTTP/1.1\r\nHost: localhost\r\n{length}")
                response = stream.response()
                self.longest = max(self.longest, time.monotonic() - began)
                self.answers += 1
                if response.status != 200:
                    self.failures.append(response.status)
                if response.get("Connection") == "close":
                    stream.close()
                    stream = connect(self.port)
                time.sleep(self.pace)
        except (OSError, EOFError) as error:
            self.failures.append(repr(error))
        finally:
            stream.close()

    def has_answers(self, more=50):
        before = self.answers
        until(lambda: self.answers >= before + more or self.failures, "requests are answered", 10)
        return self

    def end(self):
        self.ends.set()
        for thread in self.threads:
            thread.join(10)
        assert self.answers
        return self.failures


@pytest.fixture
def routed(cluster, tmp_path):
    """routed(routes…, router={…}) starts three nodes and a router that finds them; the cluster has it as `router`."""
    started = []

    def start(*routes, router=None, file=None, **more):
        made = cluster(*(routes or [PLAIN]), node={"trustedProxies": ["127.0.0.1"]}, **more)
        content = {"store": made.redis.url, "cluster": {"name": "test", "secret": SECRET}, **(file or {})}
        made.router = Router(tmp_path, {**content, "node": {"name": "router-1", "threads": 2}, "router": router or {}})
        started.append(made.router)
        made.router.start()
        return made

    yield start
    for each in started:
        each.__exit__()


def served(cluster):
    """Requests that each node has logged."""
    return [sum(line["path"] == "/" for line in node.log()) for node in cluster.nodes]


def test_a_file_that_names_no_nodes_and_no_store_is_refused(tmp_path):
    router = Router(tmp_path, {})
    done = sluice("router", "-c", str(router.file))
    assert done.returncode == 1
    assert "nothing says where the nodes are" in done.stderr and "router: { nodes:" in done.stderr


def test_requests_are_shared_out_among_the_members(routed):
    c = routed()
    with connect(c.router.port) as stream:
        for _ in range(60):
            stream.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = stream.response()
            assert response.status == 200
            assert len(response.values("X-Request-Id")) == 1
    counts = until(lambda: sum(found := served(c)) == 60 and found, "all requests are logged")
    assert min(counts) >= 8


def test_a_killed_node_costs_no_request(routed):
    c = routed()
    load = Load(c.router.port).has_answers()
    c.nodes[1].process.send_signal(SIGKILL)
    load.has_answers(400)
    assert load.end() == []
