"""Every shape of a proper HTTP/1.1 exchange, streamed both ways."""

import os
import socket
import threading
import time

import pytest

from support import ask, connect, ok, route, until


def request(path="/", fields="", method="GET", version="1.1"):
    return f"{method} {path} HTTP/{version}\r\nHost: localhost\r\n{fields}\r\n"


def test_fields_and_body_pass_unchanged_both_ways(origin, gateway):
    up = origin(lambda stream, r: stream.send(ok(r.body[::-1], ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Mixed", "ÄÖ"))))
    response = ask(gateway(up).port, "POST", "/a/b?c=d&e", [("X-One", "1"), ("X-One", "2"), ("X-Empty", "")], b"hello")
    seen = up.requests[0]
    assert (seen.method, seen.target, seen.body) == ("POST", "/a/b?c=d&e", b"hello")
    assert seen.values("X-One") == ["1", "2"] and seen.values("X-Empty") == [""]
    assert response.body == b"olleh" and response.values("Set-Cookie") == ["a=1", "b=2"]


def test_the_peer_is_told_and_copies_of_untrusted_clients_are_dropped(origin, gateway):
    up = origin()
    forged = [("X-Forwarded-For", "1.2.3.4"), ("Forwarded", "for=1.2.3.4"), ("X-Real-IP", "1.2.3.4"), ("X-Forwarded-Proto", "https")]
    ask(gateway(up).port, headers=forged)
    seen = up.requests[0]
    assert seen.values("X-Forwarded-For") == ["127.0.0.1"]
    assert seen.values("X-Forwarded-Proto") == ["http"]
    assert "1.2.3.4" not in str(seen.fields)


def test_chunked_body_and_trailers_reach_the_upstream(origin, gateway):
    up = origin()
    with connect(gateway(up).port) as stream:
        stream.send(request("/", "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "POST"))
        stream.send("5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n")
        assert stream.response().status == 200
    assert up.requests[0].body == b"hello world"
    assert ("X-Sum", "11") in up.requests[0].trailers


def test_chunked_body_and_trailers_reach_the_client(origin, gateway):
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    up = origin(lambda stream, r: stream.send(head + "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"))
    with connect(gateway(up).port) as stream:
        stream.send(request("/", "TE: trailers\r\nConnection: TE\r\n"))
        response = stream.response()
        assert response.body == b"hello" and response.complete
        assert ("X-Sum", "5") in response.trailers
        stream.send(request())
        assert stream.response().body == b"hello"


def test_framing_fields_in_trailers_do_not_pass(origin, gateway):
    up = origin()
    with connect(gateway(up).port) as stream:
        stream.send(request("/", "Transfer-Encoding: chunked\r\n", "POST") + "0\r\nContent-Length: 5\r\nHost: evil\r\n\r\n")
        response = stream.response()
    if response.status == 200:
        assert not {name.lower() for name, _ in up.requests[0].trailers} & {"content-length", "host"}
    else:
        assert response.status == 400


def test_a_body_until_close_is_delivered_whole(origin, gateway):
    def handler(stream, r):
        stream.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        return False

    response = ask(gateway(origin(handler)).port)
    assert len(response.body) == 100_000 and response.complete


def test_http_1_0_client_gets_no_chunks_and_a_close(origin, gateway):
    up = origin(lambda stream, r: stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
    with connect(gateway(up).port) as stream:
        stream.send(request(version="1.0"))
        response = stream.response()
        assert response.get("Transfer-Encoding") is None
        assert response.body == b"abc" and stream.is_closed()


def test_http_1_0_client_may_keep_the_connection(origin, gateway):
    with connect(gateway(origin()).port) as stream:
        for _ in range(2):
            stream.send(request(fields="Connection: keep-alive\r\n", version="1.0"))
            response = stream.response()
            assert response.status == 200 and response.get("Connection", "").lower() == "keep-alive"


def test_http_1_0_upstream_is_understood(origin, gateway):
    def handler(stream, r):
        stream.send("HTTP/1.0 200 OK\r\n\r\nold")
        return False

    assert ask(gateway(origin(handler)).port).body == b"old"


def test_head_has_the_length_and_no_body(origin, gateway):
    up = origin(lambda stream, r: stream.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"))
    with connect(gateway(up).port) as stream:
        stream.send(request(method="HEAD") + request(method="HEAD"))
        for _ in range(2):
            response = stream.response("HEAD")
            assert response.status == 200 and response.get("Content-Length") == "1234"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_responses_without_a_body_keep_the_connection_in_step(origin, gateway, status):
    up = origin(lambda stream, r: stream.send(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n"))
    with connect(gateway(up).port) as stream:
        for _ in range(3):
            stream.send(request())
            response = stream.response()
            assert response.status == int(status[:3]) and response.body == b""


def test_expect_continue_is_answered_before_the_body(origin, gateway):
    up = origin(lambda stream, r: stream.send(ok(r.body)))
    with connect(gateway(up).port) as stream:
        stream.send(request("/", "Expect: 100-continue\r\nContent-Length: 5\r\n", "POST"))
        assert stream.response(informational=True).status == 100
        stream.send("hello")
        assert stream.response().body == b"hello"


def test_expect_continue_of_a_refused_request_gets_the_refusal_only(origin, gateway):
    up = origin()
    port = gateway(up, routes=[route(path="/known")]).port
    with connect(port) as stream:
        stream.send(request("/unknown", "Expect: 100-continue\r\nContent-Length: 5\r\n", "POST"))
        assert stream.response(informational=True).status == 404
    assert up.requests == []


def test_early_hints_pass_on(origin, gateway):
    up = origin(lambda stream, r: stream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok(b"page")))
    with connect(gateway(up).port) as stream:
        stream.send(request())
        hints = stream.response(informational=True)
        assert hints.status == 103 and hints.get("Link") == "</a.css>"
        assert stream.response().body == b"page"


def test_event_stream_arrives_event_by_event(origin, gateway):
    step = threading.Semaphore(0)

    def handler(stream, r):
        stream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            step.acquire(timeout=10)
            event = f"data: {number}\n\n"
            stream.send(f"{len(event):x}\r\n{event}\r\n")
        stream.send("0\r\n\r\n")

    with connect(gateway(origin(handler)).port) as stream:
        stream.send(request())
        assert stream.head().status == 200
        for number in range(5):
            step.release()  # the next event exists only now: it cannot have waited for another
            size = int(stream.line(), 16)
            assert stream.exactly(size + 2) == f"data: {number}\n\n\r\n".encode()
        assert stream.line() == "0"


def test_upgrade_becomes_a_tunnel_with_half_close(origin, gateway):
    def handler(stream, r):
        assert r.get("Upgrade") == "mirror" and "upgrade" in r.get("Connection").lower()
        stream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: mirror\r\nConnection: Upgrade\r\n\r\nhello ")
        while stream.buffer or stream.fill():
            data, stream.buffer = stream.buffer, b""
            stream.send(data.upper())
        stream.send(b" bye")  # the client has ended its side; ours still speaks
        return False

    with connect(gateway(origin(handler)).port) as stream:
        stream.send(request(fields="Upgrade: mirror\r\nConnection: Upgrade\r\n") + "early ")
        assert stream.response().status == 101
        stream.send("later")
        stream.socket.shutdown(socket.SHUT_WR)
        assert stream.rest() == b"hello EARLY LATER bye"


def test_refused_upgrade_stays_http(origin, gateway):
    up = origin(lambda stream, r: stream.send(ok(b"no", status="426 Upgrade Required")))
    with connect(gateway(up).port) as stream:
        for _ in range(2):
            stream.send(request(fields="Upgrade: mirror\r\nConnection: Upgrade\r\n"))
            assert stream.response().status == 426


def test_tunnel_passes_megabytes_both_ways(origin, gateway):
    def handler(stream, r):
        stream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: mirror\r\nConnection: Upgrade\r\n\r\n")
        while stream.buffer or stream.fill():
            data, stream.buffer = stream.buffer, b""
            stream.send(data)
        return False

    payload = os.urandom(1 << 20) * 8
    with connect(gateway(origin(handler)).port) as stream:
        stream.send(request(fields="Upgrade: mirror\r\nConnection: Upgrade\r\n"))
        assert stream.response().status == 101
        threading.Thread(
            target=lambda: (stream.send(payload), stream.socket.shutdown(socket.SHUT_WR)), daemon=True
        ).start()
        assert stream.rest() == payload


def test_a_response_before_the_request_body_ended_reaches_the_client(origin, gateway):
    def raw(stream):
        stream.head()
        stream.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        stream.socket.shutdown(socket.SHUT_WR)
        stream.rest()

    with connect(gateway(origin(raw=raw)).port) as stream:
        stream.send(request("/", "Content-Length: 1000000\r\n", "POST") + "x" * 1000)
        response = stream.response()
        assert response.status == 413 and response.body == b"big"


def test_an_idle_client_connection_survives_between_requests_and_the_upstream_one_is_reused(origin, gateway):
    up = origin()
    port = gateway(up).port
    with connect(port) as stream:
        for _ in range(20):
            stream.send(request())
            assert stream.response().status == 200
    assert up.connections == 1


def test_back_pressure_a_slow_reader_stops_the_upstream(origin, gateway):
    sent = [0]

    def handler(stream, r):
        stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(4096):  # 256 MiB if nobody stops it
            stream.send(block)
            sent[0] += 65536

    g = gateway(origin(handler))
    with connect(g.port) as stream:
        stream.send(request())
        stream.head()
        before = -1
        while before != sent[0]:  # the upstream has come to rest
            before = sent[0]
            time.sleep(0.5)
        assert sent[0] < 64 << 20, "the gateway (and the kernel's buffers) took more than 64 MiB from the upstream"
        assert g.resident_bytes() < 64 << 20


GIB = int(os.environ.get("SLUICE_BODY_GIB", "2"))


def test_a_body_of_gigabytes_passes_down_in_constant_memory(origin, gateway):
    block = b"x" * (1 << 20)

    def handler(stream, r):
        stream.send(f"HTTP/1.1 200 OK\r\nContent-Length: {GIB << 30}\r\n\r\n")
        for _ in range(GIB << 10):
            stream.send(block)

    g = gateway(origin(handler))
    received, peak = 0, 0
    buffer = bytearray(1 << 20)
    with connect(g.port) as stream:
        stream.send(request())
        stream.head()
        received = len(stream.buffer)
        while received < GIB << 30 and (count := stream.socket.recv_into(buffer)):
            received += count
            if received % 97 == 0:
                peak = max(peak, g.resident_bytes())
    peak = max(peak, g.resident_bytes())
    print(f"{GIB} GiB down, resident {peak / 2**20:.1f} MiB")
    assert received == GIB << 30
    assert peak < 64 << 20


def test_a_body_of_gigabytes_passes_up_in_constant_memory(origin, gateway):
    count = [0]

    def raw(stream):
        head = stream.head()
        total, buffer = int(head.get("Content-Length")), bytearray(1 << 20)
        count[0] = len(stream.buffer)
        while count[0] < total and (n := stream.socket.recv_into(buffer)):
            count[0] += n
        stream.send(ok(b"done"))

    g = gateway(origin(raw=raw))
    block = b"x" * (1 << 20)
    with connect(g.port, timeout=60) as stream:
        stream.send(request("/", f"Content-Length: {GIB << 30}\r\n", "POST"))
        for _ in range(GIB << 10):
            stream.send(block)
        peak = g.resident_bytes()
        assert stream.response().body == b"done"
    print(f"{GIB} GiB up, resident {peak / 2**20:.1f} MiB")
    assert count[0] == GIB << 30
    assert peak < 64 << 20
