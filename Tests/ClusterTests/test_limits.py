"""Limits: each refuses with its status, costs its attacker a connection, and nobody else anything."""

import socket
import time

import pytest

from support import ask, connect, ok, route, until

REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_request_line_too_long(origin, gateway):
    up = origin()
    port = gateway(up).port
    assert ask(port, path="/" + "a" * 9000).status == 414
    assert up.requests == []
    assert ask(port, path="/" + "a" * 7000).status == 200


def test_too_many_fields(origin, gateway):
    up = origin()
    port = gateway(up).port
    assert ask(port, headers=[(f"X-{n}", "1") for n in range(200)]).status == 431
    assert up.requests == []
    assert ask(port, headers=[(f"X-{n}", "1") for n in range(80)]).status == 200


def test_head_too_large(origin, gateway):
    up = origin()
    port = gateway(up).port
    assert ask(port, headers=[("X-Big", "x" * 70_000)]).status == 431
    assert up.requests == []
    assert ask(port, headers=[("X-Big", "x" * 30_000)]).status == 200


def body_limited(origin, gateway):
    up = origin()
    return up, gateway(up, routes=[route(policies=[{"type": "body-limit", "limit": "1KiB"}])]).port


def test_announced_body_too_large_is_refused_before_it_is_read(origin, gateway):
    up, port = body_limited(origin, gateway)
    with connect(port) as stream:
        stream.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n\r\n")
        assert stream.response().status == 413
    assert up.requests == []
    assert ask(port, "POST", body=b"x" * 1024).status == 200


def test_chunked_body_too_large_is_refused_when_it_passes_the_limit(origin, gateway):
    up, port = body_limited(origin, gateway)
    with connect(port) as stream:
        stream.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        stream.send("400\r\n" + "x" * 1024 + "\r\n1\r\nx\r\n0\r\n\r\n")
        assert stream.response().status == 413
        assert stream.rest() == b""
    assert [r for r in up.requests if r.complete] == []


def test_a_head_that_never_ends_is_answered_408(origin, gateway):
    g = gateway(origin(), node={"timeouts": {"head": "1s"}})
    with connect(g.port) as stream:
        stream.send("GET / HTTP/1.1\r\nHost: loc")
        began = time.monotonic()
        assert stream.response().status == 408
        assert 0.5 < time.monotonic() - began < 4
        assert stream.is_closed()


def test_slowloris_is_cut_off_and_others_are_served(origin, gateway):
    g = gateway(origin(), node={"timeouts": {"head": "2s"}})
    attackers = [connect(g.port) for _ in range(200)]
    for attacker in attackers:
        attacker.send("GET / HTTP/1.1\r\n")
    deadline = time.monotonic() + 10
    alive = list(attackers)
    while alive and time.monotonic() < deadline:
        assert ask(g.port).status == 200
        for attacker in list(alive):
            try:
                attacker.send("X-A: b\r\n")
                attacker.socket.settimeout(0.001)
                attacker.fill()
                if attacker.buffer:
                    alive.remove(attacker)
            except TimeoutError:
                pass
            except OSError:
                alive.remove(attacker)
        time.sleep(0.1)
    assert not alive, f"{len(alive)} attackers still connected, though each byte came in time"
    for attacker in attackers:
        attacker.close()


def test_a_body_that_stops_is_answered_408(origin, gateway):
    g = gateway(origin(), node={"timeouts": {"body": "1s"}})
    with connect(g.port) as stream:
        stream.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        assert stream.response().status == 408
        assert stream.is_closed()


def test_a_reader_that_takes_nothing_is_cut_off(origin, gateway):
    def handler(stream, r):
        stream.send(f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 28}\r\n\r\n")
        for _ in range(1 << 8):
            stream.send(b"x" * (1 << 20))

    up = origin(handler)
    g = gateway(up, node={"timeouts": {"send": "1s"}})
    with connect(g.port) as stream:
        stream.send(REQUEST)
        until(lambda: up.requests and not up.streams, "the gateway gave the reader up and closed the upstream's side", 15)
        assert len(stream.rest()) < 1 << 28


def test_an_idle_connection_is_closed_without_a_word(origin, gateway):
    g = gateway(origin(), node={"timeouts": {"idle": "1s"}})
    with connect(g.port) as stream:
        stream.send(REQUEST)
        assert stream.response().status == 200
        began = time.monotonic()
        assert stream.is_closed()
        assert 0.5 < time.monotonic() - began < 4


def test_requests_per_connection(origin, gateway):
    g = gateway(origin(), node={"limits": {"requestsPerConnection": 3}})
    with connect(g.port) as stream:
        for number in range(3):
            stream.send(REQUEST)
            response = stream.response()
            assert response.status == 200
        assert response.get("Connection", "").lower() == "close"
        assert stream.is_closed()


def test_connections_per_address(origin, gateway):
    g = gateway(origin(), node={"limits": {"connectionsPerAddress": 5}})
    streams = [connect(g.port) for _ in range(5)]
    for stream in streams:
        stream.send(REQUEST)
        assert stream.response().status == 200
    try:
        with connect(g.port) as sixth:
            sixth.send(REQUEST)
            assert sixth.rest()[9:12] in (b"", b"429", b"503")
    except OSError:
        pass  # refused so early that even connecting fails
    streams.pop().close()
    until(lambda: served(g.port), "a place is free again")
    for stream in streams:
        stream.close()


def served(port):
    try:
        return ask(port).status == 200
    except (OSError, EOFError):
        return False


def test_connections_of_the_node(origin, gateway):
    g = gateway(origin(), node={"limits": {"connectionsPerNode": 10}})
    streams = [connect(g.port) for _ in range(40)]
    answered = 0
    for stream in streams:
        stream.socket.settimeout(1)
        try:
            stream.send(REQUEST)
            answered += stream.response().status == 200
        except (OSError, EOFError):
            pass
    assert answered <= 10
    for stream in streams:
        stream.close()
    until(lambda: served(g.port), "the node serves again")


def test_total_deadline_of_a_route(origin, gateway):
    def handler(stream, r):
        stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            stream.send("1\r\nx\r\n")
            time.sleep(0.1)

    g = gateway(origin(handler), routes=[route(timeouts={"total": "1s"})])
    began = time.monotonic()
    with connect(g.port) as stream:
        stream.send(REQUEST)
        try:
            complete = stream.response().complete
        except ConnectionResetError:
            complete = False
    assert time.monotonic() - began < 5
    assert not complete, "a body that was cut off looks complete"


def test_ten_thousand_bytes_one_at_a_time_cost_little(origin, gateway):
    g = gateway(origin())
    with connect(g.port) as stream:
        stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        before = g.cpu_seconds()
        for byte in ("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + "a" * 10_000 + "\r\n\r\n").encode():
            stream.send(bytes([byte]))
        assert stream.response().status == 200
    assert g.cpu_seconds() - before < 1.0
