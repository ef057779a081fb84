"""The life of a process: reload, drain, take-over, exhausted descriptors, full disks. Under load, nothing is dropped."""

import os
import pathlib
import resource
import signal
import subprocess
import threading
import time

import pytest

from support import SLUICE, Gateway, accepts, ask, configuration, connect, free_port, ok, route, sluice, until

REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Load:
    """Clients on keep-alive connections that count what was answered and what was not."""

    def __init__(self, port, clients=8):
        self.port, self.stopping = port, False
        self.answered, self.failures = 0, []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        stream = None
        while not self.stopping:
            try:
                stream = stream or connect(self.port)
                stream.send(REQUEST)
                response = stream.response()
                if response.status != 200:
                    self.failures.append(response.status)
                else:
                    self.answered += 1
                if response.get("Connection", "").lower() == "close":
                    stream.close()
                    stream = None
            except ConnectionRefusedError:
                return  # the process has gone, and told so before
            except (OSError, EOFError) as error:
                # A connection that ended between two requests without an answer was a request dropped.
                if not self.stopping:
                    self.failures.append(repr(error))
                stream = None

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def test_a_good_file_is_swapped_in(origin, gateway):
    old, new = origin(lambda s, r: s.send(ok(b"old"))), origin(lambda s, r: s.send(ok(b"new")))
    g = gateway(old)
    assert ask(g.port).body == b"old"
    g.reload(configuration(new))
    until(lambda: ask(g.port).body == b"new", "the new file is in force")


def test_a_bad_file_changes_nothing_and_says_why(origin, gateway):
    g = gateway(origin())
    g.reload('{ "routes": [ { "id": "a", "match": { "path": "/" }, "upstrem": "nobody" } ] ')
    assert str(g.file.name) in g.said() and ":" in g.said()
    assert ask(g.port).status == 200
    assert g.process.poll() is None


def test_a_hundred_reloads_under_load_drop_nothing(origin, gateway):
    up = origin()
    g = gateway(up)
    with Load(g.port) as load:
        for number in range(100):
            routes = [route()] + [route(id=f"r{n}", path=f"/r/{n}") for n in range(number)]
            g.reload(configuration(up, routes=routes))
    assert load.failures == []
    assert load.answered > 100
    assert ask(g.port, path="/r/98").status == 200


def test_a_tunnel_outlives_a_reload(origin, gateway):
    def handler(stream, r):
        stream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: mirror\r\nConnection: Upgrade\r\n\r\n")
        while stream.buffer or stream.fill():
            data, stream.buffer = stream.buffer, b""
            stream.send(data)
        return False

    other = origin()
    g = gateway(origin(handler))
    with connect(g.port) as stream:
        stream.send("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: mirror\r\nConnection: Upgrade\r\n\r\n")
        assert stream.response().status == 101
        g.reload(configuration(other))
        until(lambda: ask(g.port).body == b"ok", "the new file is in force")
        stream.send("still here")
        assert stream.exactly(10) == b"still here"


def test_a_request_in_flight_outlives_a_reload(origin, gateway):
    go = threading.Event()
    up = origin(lambda stream, r: go.wait(10) and stream.send(ok(b"late")))
    g = gateway(up)
    with connect(g.port) as stream:
        stream.send(REQUEST)
        until(lambda: up.requests, "the request is at the upstream")
        g.reload(configuration(origin()))
        go.set()
        assert stream.response().body == b"late"


def test_an_idle_node_ends_at_once(origin, gateway):
    g = gateway(origin())
    began = time.monotonic()
    assert g.stop() == 0
    assert time.monotonic() - began < 2


def test_an_idle_keep_alive_connection_does_not_hold_the_drain(origin, gateway):
    g = gateway(origin())
    with connect(g.port) as stream:
        stream.send(REQUEST)
        stream.response()
        began = time.monotonic()
        assert g.stop() == 0
        assert time.monotonic() - began < 5
        assert stream.is_closed()


def test_termination_finishes_what_runs(origin, gateway):
    go = threading.Event()
    up = origin(lambda stream, r: go.wait(10) and stream.send(ok(b"finished")))
    g = gateway(up)
    with connect(g.port) as stream:
        stream.send(REQUEST)
        until(lambda: up.requests, "the request is at the upstream")
        g.signal(signal.SIGTERM)
        until(lambda: not accepts(g.port), "it no longer accepts")
        go.set()
        response = stream.response()
        assert response.body == b"finished"
        assert response.get("Connection", "").lower() == "close"
    assert g.process.wait(10) == 0


def test_termination_under_load_drops_nothing(origin, gateway):
    g = gateway(origin())
    with Load(g.port) as load:
        until(lambda: load.answered > 200, "load runs")
        g.signal(signal.SIGTERM)
        assert g.process.wait(15) == 0
        time.sleep(0.2)
    assert load.failures == []


def test_the_drain_has_an_end(origin, gateway):
    up = origin(lambda stream, r: time.sleep(30))
    g = gateway(up, node={"drainSeconds": 1})
    with connect(g.port) as stream:
        stream.send(REQUEST)
        until(lambda: up.requests, "the request is at the upstream")
        began = time.monotonic()
        g.signal(signal.SIGTERM)
        g.process.wait(10)
        assert 0.5 < time.monotonic() - began < 4


def test_a_new_process_takes_over_the_port(origin, gateway, tmp_path):
    old = gateway(origin(lambda s, r: s.send(ok(b"old"))))
    new_up = origin(lambda s, r: s.send(ok(b"new")))
    with Load(old.port) as load:
        until(lambda: load.answered > 100, "load runs")
        new = Gateway(tmp_path, configuration(new_up), port=old.port)
        with new.start():
            old.signal(signal.SIGTERM)
            assert old.process.wait(15) == 0
            until(lambda: ask(new.port).body == b"new", "the new process serves")
            before = load.answered
            until(lambda: load.answered > before + 100, "load goes on")
            load.stop()
    assert load.failures == []


def test_a_taken_port_is_said_at_start(origin, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as holder:
        g = Gateway(tmp_path, configuration(origin()), port=holder.getsockname()[1])
        g.start(wait=False)
        assert g.process.wait(10) == 1
        assert str(g.port) in g.said()


def test_exhausted_descriptors_pause_accepting_and_nothing_spins(origin, tmp_path):
    limit = 128
    up = origin()
    g = Gateway(
        tmp_path, configuration(up), preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    )
    with g.start():
        streams = [connect(g.port) for _ in range(limit + 50)]
        time.sleep(0.3)
        before, began = g.cpu_seconds(), time.monotonic()
        time.sleep(1)
        assert g.cpu_seconds() - before < 0.3, "the loop spins"
        for stream in streams:
            stream.close()
        until(lambda: served(g.port), "it serves again")
        assert g.process.poll() is None


def served(port):
    try:
        return ask(port, timeout=2).status == 200
    except (OSError, EOFError):
        return False


def test_a_full_disk_under_the_access_log_is_counted_and_not_fatal(origin, gateway):
    g = gateway(origin(), accessLog={"file": "/dev/full"})
    assert [ask(g.port).status for _ in range(100)] == [200] * 100

    def dropped():
        return [
            sample.value for family in g.metrics().values() if "log" in family.name and "drop" in family.name
            for sample in family.samples if sample.value > 0
        ]

    until(dropped, "dropped lines are counted in the metrics")


def test_the_access_log_is_reopened_on_reload(origin, gateway, tmp_path):
    log = tmp_path / "access.log"
    g = gateway(origin(), accessLog={"file": str(log)})
    ask(g.port, path="/before")
    until(lambda: log.exists() and "/before" in log.read_text(), "the line is written")
    log.rename(tmp_path / "access.log.1")
    g.reload()
    ask(g.port, path="/after")
    until(lambda: log.exists() and "/after" in log.read_text(), "the new file is written")
    assert "/after" not in (tmp_path / "access.log.1").read_text()


def test_two_loops_share_the_port(origin, gateway):
    g = gateway(origin(), threads=2)
    streams = [connect(g.port) for _ in range(32)]
    for stream in streams:
        stream.send(REQUEST)
    assert [stream.response().status for stream in streams] == [200] * 32
    for stream in streams:
        stream.close()


def test_a_client_that_vanishes_releases_the_upstream(origin, gateway):
    up = origin(lambda stream, r: stream.fill())
    g = gateway(up)
    stream = connect(g.port)
    stream.send(REQUEST)
    until(lambda: up.requests, "the request is at the upstream")
    stream.reset()
    until(lambda: not up.streams, "the upstream's connection is closed")


def test_connections_that_come_and_go_leave_no_descriptor_behind(origin, gateway):
    g = gateway(origin(), upstream={"limits": {"idlePerEndpoint": 1}})  # warm connections are no leak, but would look like one

    def descriptors():
        return len(os.listdir(f"/proc/{g.process.pid}/fd"))

    ask(g.port)
    before = descriptors()
    for number in range(300):
        with connect(g.port) as stream:
            stream.send([REQUEST, "GET", "nonsense\r\n\r\n", ""][number % 4] if number % 4 != 3 else " ")
            if number % 2:
                stream.reset()
    until(lambda: descriptors() <= before + 2, "all descriptors are closed again")
