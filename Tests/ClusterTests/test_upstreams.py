"""What upstreams do wrong: 502, 503 or 504 as fits; never a truncated body that looks complete."""

import socket
import struct
import threading
import time

import pytest

from support import Origin, ask, connect, free_port, ok, route, until

REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

GARBAGE = {
    "no HTTP at all": b"\0\1\2\3 nonsense\r\n\r\n",
    "SSH banner": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2 frame": b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status with letters": b"HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "version 3": b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
    "unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
    "folded field": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare CR": b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000,
    "101 nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_502(origin, gateway, name):
    def raw(stream):
        stream.request()
        stream.send(GARBAGE[name])

    response = ask(gateway(origin(raw=raw)).port)
    assert response.status == 502
    assert response.get("Content-Type") == "application/problem+json"
    assert "127.0.0.1" not in response.body.decode(), "an upstream address leaked"


def test_nobody_listens(gateway):
    response = ask(gateway(f"127.0.0.1:{free_port()}").port)
    assert response.status in (502, 503)
    assert response.json()["type"].startswith("urn:sluice:problem:")


def test_closing_without_an_answer_is_502(origin, gateway):
    assert ask(gateway(origin(lambda stream, r: False)).port).status == 502


def test_closing_within_the_head_is_502(origin, gateway):
    def handler(stream, r):
        stream.send("HTTP/1.1 200 OK\r\nContent-Le")
        return False

    assert ask(gateway(origin(handler)).port).status == 502


def test_a_reset_without_an_answer_is_502(origin, gateway):
    assert ask(gateway(origin(lambda stream, r: stream.reset() or False)).port).status == 502


def test_no_answer_in_time_is_504(origin, gateway):
    stop = threading.Event()
    g = gateway(origin(lambda stream, r: stop.wait(20)), upstream={"timeouts": {"response": "500ms"}})
    began = time.monotonic()
    assert ask(g.port).status == 504
    assert time.monotonic() - began < 3
    stop.set()


def test_no_connection_in_time_is_504_or_503(gateway):
    # A listener whose queue is full swallows SYNs: connecting neither succeeds nor fails.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        g = gateway(f"127.0.0.1:{port}", upstream={"timeouts": {"connect": "500ms"}})
        began = time.monotonic()
        assert ask(g.port).status in (502, 503, 504)
        assert time.monotonic() - began < 4
        for filler in fillers:
            filler.close()


CUT = {
    "within a length": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500,
    "within a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 500,
    "between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "before the last empty line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    "at a broken chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", CUT)
def test_a_body_cut_short_never_looks_complete(origin, gateway, name, how):
    def handler(stream, r):
        stream.send(CUT[name])
        if how == "reset":
            time.sleep(0.2)  # what was sent shall arrive: a reset drops what waits
            stream.reset()
        return False

    with connect(gateway(origin(handler)).port) as stream:
        stream.send(REQUEST)
        try:
            response = stream.response()
        except (ConnectionResetError, EOFError):
            return
        assert response.status == 502 or not response.complete
        if response.status == 200:
            assert stream.is_closed()


def test_an_http_1_0_client_notices_a_body_cut_short(origin, gateway):
    def handler(stream, r):
        stream.send(CUT["between chunks"])
        time.sleep(0.2)
        return False

    with connect(gateway(origin(handler)).port) as stream:
        stream.send("GET / HTTP/1.0\r\n\r\n")
        with pytest.raises((ConnectionResetError, EOFError)):
            response = stream.response()
            assert response.complete and response.status == 200  # ended by a clean close: indistinguishable from complete


def test_more_than_the_length_does_not_reach_the_client(origin, gateway):
    g = gateway(origin(lambda stream, r: stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcEXTRA")))
    with connect(g.port) as stream:
        for _ in range(3):
            stream.send(REQUEST)
            response = stream.response()
            assert response.status == 200 and response.body == b"abc"


def test_bytes_on_an_idle_upstream_connection_answer_nobody(origin, gateway):
    injected = threading.Event()

    def handler(stream, r):
        stream.send(ok(r.target.encode()))
        if r.target == "/first":
            time.sleep(0.1)
            stream.send(ok(b"INJECTED"))
            injected.set()

    up = origin(handler)
    port = gateway(up).port
    assert ask(port, path="/first").body == b"/first"
    assert injected.wait(5)
    for number in range(5):
        assert ask(port, path=f"/{number}").body == f"/{number}".encode()


def test_an_idle_connection_that_the_upstream_closed_is_not_the_clients_problem(origin, gateway):
    count = [0]

    def handler(stream, r):
        count[0] += 1
        stream.send(ok())
        if count[0] % 2:
            return False  # closes without having said so

    port = gateway(origin(handler)).port
    with connect(port) as stream:
        for _ in range(50):
            stream.send(REQUEST)
            assert stream.response().status == 200


def test_a_dead_endpoint_is_avoided_when_another_lives(origin, gateway):
    up = origin()
    g = gateway(
        f"127.0.0.1:{free_port()}", up, upstream={"retries": {"attempts": 2, "on": ["connect-failure"], "budgetPercent": 100}}
    )
    assert [ask(g.port).status for _ in range(40)] == [200] * 40


def test_a_post_that_may_have_run_is_never_sent_twice(origin, gateway):
    dying, up = origin(lambda stream, r: stream.reset() or False), origin(lambda stream, r: stream.reset() or False)
    retries = {"attempts": 3, "on": ["connect-failure", "reset", "503"], "budgetPercent": 100}
    g = gateway(dying, up, upstream={"retries": retries})
    for _ in range(10):
        assert ask(g.port, "POST", body=b"once").status == 502
    assert len(dying.requests) + len(up.requests) == 10


def test_an_idempotent_request_is_tried_elsewhere(origin, gateway):
    dying, up = origin(lambda stream, r: stream.reset() or False), origin()
    g = gateway(dying, up, upstream={
        "balance": "round-robin", "retries": {"attempts": 2, "on": ["reset"], "budgetPercent": 100},
        "ejection": {"consecutiveFailures": 1000},
    })
    assert [ask(g.port).status for _ in range(10)] == [200] * 10
    assert dying.requests


def test_a_failing_endpoint_is_ejected(origin, gateway):
    bad, good = origin(lambda stream, r: stream.send(ok(status="503 Oops"))), origin()
    g = gateway(bad, good, upstream={
        "balance": "round-robin", "ejection": {"consecutiveFailures": 3, "baseTime": "30s", "maxPercent": 50},
    })
    statuses = [ask(g.port).status for _ in range(40)]
    assert statuses.count(503) <= 4 and statuses[-20:] == [200] * 20


def test_a_broken_upstream_is_never_ejected_whole(origin, gateway):
    ups = [origin(lambda stream, r: stream.send(ok(status="503 Oops"))) for _ in range(2)]
    g = gateway(*ups, upstream={"ejection": {"consecutiveFailures": 2, "baseTime": "30s", "maxPercent": 50}})
    assert [ask(g.port).status for _ in range(20)] == [503] * 20


def test_health_checks_take_out_and_bring_back(origin, gateway):
    healthy = threading.Event()
    healthy.set()

    def flaky(stream, r):
        fine = healthy.is_set() or r.target != "/healthz"
        stream.send(ok(b"flaky", status="200 OK" if fine else "503 Sick"))

    a, b = origin(flaky), origin(lambda stream, r: stream.send(ok(b"steady")))
    g = gateway(a, b, upstream={"balance": "round-robin", "health": {"path": "/healthz", "interval": "200ms", "timeout": "100ms"}})

    def bodies():
        return {ask(g.port).body for _ in range(4)}

    until(lambda: bodies() == {b"flaky", b"steady"}, "both serve")
    healthy.clear()
    until(lambda: bodies() == {b"steady"}, "the sick one is out")
    healthy.set()
    until(lambda: bodies() == {b"flaky", b"steady"}, "it is back")


def test_round_robin_is_even_and_weighted(origin, gateway):
    ups = [origin() for _ in range(3)]
    content = {
        "node": {"threads": 1},
        "upstreams": {"origin": {"balance": "round-robin", "endpoints": [
            ups[0].address, ups[1].address, {"address": ups[2].address, "weight": 2}]}},
        "routes": [route()],
    }
    g = gateway(content=content)
    for _ in range(40):
        assert ask(g.port).status == 200
    assert [len(up.requests) for up in ups] == [10, 10, 20]


def test_unix_socket(gateway, tmp_path):
    path = str(tmp_path / "up.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(ok(b"unix"))

        threading.Thread(target=serve, daemon=True).start()
        assert ask(gateway(f"unix:{path}").port).body == b"unix"


def test_a_name_is_resolved(origin, gateway):
    assert ask(gateway(f"localhost:{origin().port}").port).status == 200


def test_a_mirrored_request_does_not_touch_the_answer(origin, gateway):
    up, shadow = origin(), origin(lambda stream, r: time.sleep(5))
    g = gateway(content={
        "upstreams": {"origin": {"endpoints": [up.address]}, "shadow": {"endpoints": [shadow.address]}},
        "routes": [route(mirror={"upstream": "shadow", "percent": 100})],
    })
    began = time.monotonic()
    assert ask(g.port).status == 200
    assert time.monotonic() - began < 2
    until(lambda: shadow.requests, "the mirror was asked")
