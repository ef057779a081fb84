"""What clients of HTTP/2 must not do: each is refused by name, and nobody else notices."""

import socket
import threading
import time

import pytest

from http2 import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, Client,
    Frames, block, frame, request,
)
from support import ask, ok, until
from test_http2 import node, sample  # noqa: F401

PROTOCOL_ERROR, NO_ERROR, CALM = 1, 0, 11


def exceeded(g, limit):
    return sample(g, "sluice_http2_limits", limit=limit)


# --- Limits ------------------------------------------------------------------------------------------------------------

OPEN = block((":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "localhost"))
POST = frame(HEADERS, 1, OPEN, END_HEADERS)


def bomb():
    """A field block of 12 KiB that unpacks to 32 MB: one large entry of the table, named many times."""
    entry = b"\x40\x03x-b\x7f\xbd\x1d" + b"a" * 3900
    return frame(HEADERS, 1, OPEN + entry + b"\xbe" * 8000, END_HEADERS | END_STREAM)


FLOODS = {
    "rapid-reset": lambda: b"".join(
        request(2 * n + 1) + frame(RST_STREAM, 2 * n + 1, b"\0\0\0\x08") for n in range(1000)),
    "continuation-flood": lambda: frame(HEADERS, 1, OPEN) + frame(CONTINUATION, 1, b"") * 100,
    "settings-flood": lambda: frame(SETTINGS) * 100,
    "ping-flood": lambda: frame(PING, payload=bytes(8)) * 1000,
    "empty-frames": lambda: POST + frame(DATA, 1) * 1000,
    "tiny-frames": lambda: POST + frame(DATA, 1, b"x") * 60_000,
    "window-update-flood": lambda: POST + frame(WINDOW_UPDATE, 1, b"\0\0\0\1") * 10_000,
    "hpack-bomb": bomb,
    "idle-frames": lambda: frame(PRIORITY, 1, bytes(5)) * 5000,
}


@pytest.mark.parametrize("limit", FLOODS)
def test_a_flood_ends_the_connection_and_is_counted(origin, node, limit):
    up = origin(lambda stream, request: None)
    g = node(up)
    with Frames(g.port) as frames, Client(g.port) as other:
        try:
            frames.send(FLOODS[limit]())
        except OSError:
            pass
        assert frames.end() in (CALM, None), "its GOAWAY may be lost behind what it still sends"
        until(lambda: exceeded(g, limit) == 1, "it is counted under its name")
        up.handler = lambda stream, request: stream.send(ok())
        assert other.ask().status == 200


def test_too_many_fields_are_431_on_their_stream_alone(origin, node):
    up = origin()
    g = node(up)
    with Client(g.port) as client:
        assert client.ask("/", "GET", *[(f"x-{n}", "y" * 500) for n in range(110)]).status == 431
        assert client.ask().status == 200
    assert len(up.requests) == 1 and exceeded(g, "header-list-bytes") + exceeded(g, "field-count") == 1


def test_rapid_reset_costs_others_nothing(origin, node):
    """Ten connections in turn reset streams as fast as they can; each is closed, and the upstream sees few requests."""
    up = origin()
    g = node(up, node={"limits": {"abusesPerAddress": 1_000_000}})
    stop = threading.Event()

    def attack():
        batch = FLOODS["rapid-reset"]()
        while not stop.is_set():
            with Frames(g.port) as frames:
                try:
                    frames.send(batch)
                    frames.end()
                except OSError:
                    pass

    threads = [threading.Thread(target=attack) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with Client(g.port) as client:
            slowest = 0
            for _ in range(100):
                started = time.monotonic()
                assert client.ask().status == 200
                slowest = max(slowest, time.monotonic() - started)
        assert slowest < 2
        until(lambda: exceeded(g, "rapid-reset") >= 10, "they are closed")
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


def flooded(g, limit="rapid-reset"):
    """Whether a connection could be had, on which so much is sent that it ends."""
    before = exceeded(g, limit)
    try:
        with Frames(g.port) as frames:
            frames.send(FLOODS[limit]())
            frames.end()
    except OSError:
        pass
    time.sleep(0.05)
    return exceeded(g, limit) > before


def test_an_address_that_abuses_connections_gets_no_others_for_a_while(origin, node):
    up = origin()
    g = node(up, node={"limits": {"abusesPerAddress": 3}})

    def refused():
        return sample(g, "sluice_connections_refused", reason="abuse")

    with Client(g.port) as early:
        assert [flooded(g, limit) for limit in ("rapid-reset", "ping-flood", "settings-flood")] == [True] * 3
        assert refused() == 0
        assert not flooded(g) and refused() == 1
        before = len(up.requests)
        with Frames(g.port) as frames:
            assert frames.end() == CALM, "another connection of HTTP/2 is turned away"
        with pytest.raises((AssertionError, OSError)), Client(g.port) as client:
            client.ask()
        assert len(up.requests) == before and refused() == 3
        assert early.ask().status == 200, "one that was there before goes on"
    assert ask(g.port).status == 200, "HTTP/1.1 is not meant"
    with Client(g.port, source=("127.0.0.2", 0)) as other:
        assert other.ask().status == 200, "nor is another address"


def test_trusted_proxies_are_not_counted(origin, node):
    g = node(origin(), node={"limits": {"abusesPerAddress": 1}, "trustedProxies": ["127.0.0.1/32"]})
    assert [flooded(g) for _ in range(3)] == [True] * 3
    assert sample(g, "sluice_connections_refused", reason="abuse") == 0


def test_what_happens_to_honest_clients_is_no_abuse(origin, node):
    """Requests that are malformed or too large, and connections that break or say nothing."""
    g = node(origin(), node={"limits": {"abusesPerAddress": 1}})
    for _ in range(3):
        with Client(g.port) as client:
            assert client.ask("/", "GET", *[(f"x-{n}", "y" * 500) for n in range(110)]).status == 431
        with Frames(g.port) as frames:
            frames.send(frame(HEADERS, 1, MALFORMED["two paths"], END_HEADERS | END_STREAM))
            assert frames.reset(1) == PROTOCOL_ERROR
        with Frames(g.port) as frames:
            frames.send(frame(DATA, 0, b"x"))
            assert frames.end() == PROTOCOL_ERROR
    assert sample(g, "sluice_connections_refused", reason="abuse") == 0


def test_a_connection_without_a_preface_is_not_kept(origin, node):
    g = node(origin(), node={"timeouts": {"head": "1s", "linger": "1s"}})
    with socket.create_connection(("127.0.0.1", g.port), 10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM")
        assert b"\x00\x00\x00" in connection.recv(100), "SETTINGS come at once"
        connection.sendall(b"XX\r\n\r\n")
        while connection.recv(4096):
            pass


# --- Messages that must not pass ---------------------------------------------------------------------------------------


def bad(*fields, path="/", method="GET", pseudo=()):
    first = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    return block(*first, *pseudo, *fields)


MALFORMED = {
    "line end in a value": bad(("x-a", "b\r\nx-evil: 1")),
    "line end in a path": bad(path="/ HTTP/1.1\r\nx-evil: 1\r\n\r\n"),
    "blank in a path": bad(path="/a b"),
    "line end in a method": bad(method="GET / HTTP/1.1\r\nx: y"),
    "transfer-encoding": bad(("transfer-encoding", "chunked")),
    "connection": bad(("connection", "keep-alive, x-a")),
    "upgrade": bad(("upgrade", "websocket")),
    "te other than trailers": bad(("te", "gzip")),
    "uppercase name": bad(("X-A", "b")),
    "colon in a name": bad(("x:a", "b")),
    "blank in a name": bad(("x a", "b")),
    "null in a value": bad(("x-a", "b\0c")),
    "pseudo field behind fields": block(
        (":method", "GET"), (":scheme", "http"), ("x-a", "b"), (":path", "/"), (":authority", "localhost")),
    "two paths": bad(pseudo=[(":path", "/other")]),
    "unknown pseudo field": bad(pseudo=[(":status", "200")]),
    "host that differs": bad(("host", "elsewhere")),
    "no path": block((":method", "GET"), (":scheme", "http"), (":authority", "localhost")),
    "empty path": bad(path=""),
    "two lengths": bad(("content-length", "1"), ("content-length", "2")),
    "length that is none": bad(("content-length", "+1")),
    "length without a body": bad(("content-length", "5")),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_request_ends_its_stream_and_reaches_nobody(origin, node, what):
    up = origin()
    with Frames(node(up).port) as frames:
        frames.send(frame(HEADERS, 1, MALFORMED[what], END_HEADERS | END_STREAM))
        assert frames.reset(1) == PROTOCOL_ERROR
        frames.send(request(3))
        while answer := frames.next():
            if answer[0] == HEADERS and answer[2] == 3:
                break
        assert answer, "the connection goes on"
    assert len(up.requests) == 1 and up.connections == 1


@pytest.mark.parametrize("sent, promised", [(3, 5), (5, 3)])
def test_a_body_that_is_not_as_long_as_promised_ends_its_stream(origin, node, sent, promised):
    seen = []

    def raw(stream):
        head = stream.head()
        seen.append((head, stream.rest()))

    up = origin(raw=raw)
    with Frames(node(up).port) as frames:
        head = bad(("content-length", str(promised)), method="POST")
        frames.send(frame(HEADERS, 1, head, END_HEADERS) + frame(DATA, 1, b"x" * sent, END_STREAM))
        assert frames.reset(1) == PROTOCOL_ERROR
        until(lambda: up.connections == 0 or len(seen) == up.connections, "the upstream's connection ends")
    assert all(len(body) < promised for _, body in seen), "no whole request has arrived"


def test_bodies_are_not_taken_for_requests(origin, node):
    up = origin(lambda stream, request: stream.send(ok(request.body)))
    evil = b"0\r\n\r\nGET /evil HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Client(node(up).port) as client:
        for fields in [(), (("content-length", str(len(evil))),)]:
            assert client.ask("/", "POST", *fields, body=evil).body == evil
        # What stands behind a request for a tunnel that is refused, neither.
        stream = client.begin("/", "CONNECT", ("content-length", "1"), ends=False)
        assert client.finish(stream).reset is not None
    assert [request.target for request in up.requests] == ["/", "/"]
