"""HTTP/2 to clients: real clients (curl, h2load, Python's h2 and httpx) against real processes."""

import asyncio
import socket
import subprocess
import threading
import time

import httpx
import pytest

from certificates import Authority
from http2 import PREFACE, SETTINGS, Client, Frames, frame, request
from support import PATIENCE, Gateway, ask, configuration, free_port, ok, route, until
from test_policies import KEY, consumer
from test_tls import client_context, pair

@pytest.fixture
def node(tmp_path):
    """node(*origins, **options) starts a node that speaks HTTP/2 with prior knowledge."""
    started = []

    def start(*origins, listener=None, **options):
        port = free_port()
        content = configuration(*origins, **options)
        content["listeners"] = [{"address": f"127.0.0.1:{port}", "h2c": True, **(listener or {})}]
        started.append(Gateway(tmp_path, content, port=port))
        return started[-1].start()

    yield start
    for each in started:
        each.__exit__()


@pytest.fixture
def secured(tmp_path):
    """A node that speaks TLS, and the authority of its certificate."""
    started = []

    def start(*origins, tls=None, **options):
        authority = Authority(tmp_path)
        port, safe = free_port(), free_port()
        content = configuration(*origins, **options)
        content["listeners"] = [
            {"address": f"127.0.0.1:{port}"},
            {"address": f"127.0.0.1:{safe}", "tls": {"certificates": [pair(authority.issue("site", "DNS:localhost"))], **(tls or {})}},
        ]
        started.append(Gateway(tmp_path, content, port=port))
        started[-1].start()
        return started[-1], safe, authority

    yield start
    for each in started:
        each.__exit__()


def curl(*arguments):
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "60", *arguments], capture_output=True, check=True).stdout


VERSION = ("--output", "/dev/null", "--write-out", "%{http_code} %{http_version}")


# --- How a connection comes to speak it --------------------------------------------------------------------------------


def test_curl_chooses_it_by_alpn(origin, secured):
    g, port, authority = secured(origin())
    where = (f"https://localhost:{port}/", "--cacert", str(authority.certificate))
    assert curl("--http2", *where, *VERSION) == b"200 2"
    assert curl("--http1.1", *where, *VERSION) == b"200 1.1"
    until(lambda: len(g.log()) == 2, "both are logged")
    assert [(line["protocol"], line["scheme"], line["tls"]) for line in g.log()] == [
        ("HTTP/2", "https", "1.3"), ("HTTP/1.1", "https", "1.3")]


def test_it_can_be_turned_off(origin, secured):
    _, port, authority = secured(origin(), tls={"http2": False})
    assert curl("--http2", f"https://localhost:{port}/", "--cacert", str(authority.certificate), *VERSION) == b"200 1.1"


def test_prior_knowledge_is_for_listeners_that_allow_it(origin, node, gateway):
    up = origin()
    g = node(up)
    assert curl("--http2-prior-knowledge", f"http://127.0.0.1:{g.port}/", *VERSION) == b"200 2"
    assert ask(g.port).status == 200, "HTTP/1.1 is spoken on the same port"
    before = len(up.requests)
    with pytest.raises(subprocess.CalledProcessError):
        curl("--http2-prior-knowledge", f"http://127.0.0.1:{gateway(up).port}/", *VERSION)
    assert len(up.requests) == before


def test_the_preface_may_come_byte_by_byte_and_behind_a_proxy_header(origin, node):
    up = origin()
    g = node(up, listener={"proxyProtocol": True})
    with Client(g.port, first=b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n") as client:
        assert client.ask().status == 200
    assert up.requests[0].get("X-Forwarded-For") == "192.0.2.7"
    g = node(up)
    with socket.create_connection(("127.0.0.1", g.port), 10) as connection:
        for byte in PREFACE + frame(SETTINGS) + request(1):
            connection.sendall(bytes([byte]))
            time.sleep(0.0005)
        until(lambda: len(up.requests) == 2, "the request arrives")


def test_httpx_speaks_it(origin, secured):
    _, port, authority = secured(origin())

    async def talk():
        async with httpx.AsyncClient(http2=True, verify=client_context(authority)) as client:
            replies = await asyncio.gather(*(client.post(f"https://localhost:{port}/", content=b"x" * n) for n in range(50)))
            assert {(reply.status_code, reply.http_version) for reply in replies} == {(200, "HTTP/2")}

    asyncio.run(talk())


# --- Messages ----------------------------------------------------------------------------------------------------------


def echo(stream, request):
    stream.send(ok(request.body, ("X-Length", request.get("Content-Length", "none"))))


def test_bodies_pass_with_and_without_a_length(origin, node):
    up = origin(echo)
    with Client(node(up).port) as client:
        body = bytes(range(256)) * 1200
        for fields in [(), (("content-length", str(len(body))),)]:
            reply = client.ask("/", "POST", *fields, body=body)
            assert reply.status == 200 and reply.body == body
        assert client.ask("/", "POST", ("content-length", "0")).fields["x-length"] == "0"
        assert client.ask("/", "POST", body=b"").body == b""
    assert [request.get("Transfer-Encoding") for request in up.requests][:2] == ["chunked", None]


def test_responses_without_a_length_and_with_trailers(origin, node):
    def handler(stream, request):
        if request.target == "/close":
            stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"until the end" * 10)
            return False
        stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        stream.send(b"5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")

    with Client(node(origin(handler)).port) as client:
        assert client.ask("/close").body == b"until the end" * 10
        reply = client.ask("/")
        assert (reply.body, reply.trailers) == (b"hello", {"x-sum": "42"})
        assert not {"connection", "transfer-encoding", "keep-alive"} & reply.fields.keys()


def test_trailers_of_requests_pass(origin, node):
    up = origin()
    with Client(node(up).port) as client:
        stream = client.begin("/", "POST", ("te", "trailers"), ends=False)
        client.send(stream, b"body")
        client.connection.send_headers(stream, [("x-sum", "42")], end_stream=True)
        client.flush()
        assert client.finish(stream).status == 200
    assert up.requests[0].trailers == [("x-sum", "42")] and up.requests[0].body == b"body"


def test_responses_that_have_no_body(origin, node):
    answers = {
        "/204": b"HTTP/1.1 204 No Content\r\n\r\n", "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
        "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "/empty": ok(b""),
    }
    with Client(node(origin(lambda stream, request: stream.send(answers[request.target]))).port) as client:
        for path, status in [("/204", 204), ("/304", 304), ("/head", 200), ("/empty", 200)]:
            reply = client.ask(path, "HEAD" if path == "/head" else "GET")
            assert (reply.status, reply.body, reply.ended, reply.reset) == (status, b"", True, None)
        assert client.ask("/head", "HEAD").fields["content-length"] == "7"


def test_informational_responses_pass(origin, node):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    with Client(node(origin(lambda stream, request: stream.send(hint + ok()))).port) as client:
        reply = client.ask()
        assert [each[":status"] for each in reply.informational] == ["103"] and reply.status == 200


def test_a_hundred_streams_at_once_on_one_connection(origin, node):
    gate = threading.Barrier(100, timeout=10)

    def handler(stream, request):
        gate.wait()  # nobody is answered before all have asked
        stream.send(ok(request.target.encode()))

    g = node(origin(handler))
    with Client(g.port) as client:
        streams = [client.begin(f"/{n}") for n in range(100)]
        for n, stream in enumerate(streams):
            assert client.finish(stream).body == f"/{n}".encode()
        assert client.settings[3] >= 100
    assert sample(g, "sluice_connections_accepted") <= 3, "streams are no connections"


def test_more_streams_than_allowed_are_refused_and_may_be_sent_again(origin, node):
    gate = threading.Event()

    def handler(stream, request):
        gate.wait(10)
        stream.send(ok())

    g = node(origin(handler))
    with Frames(g.port) as frames:
        frames.send(b"".join(request(2 * n + 1) for n in range(129)))
        assert frames.reset(257) == 7, "REFUSED_STREAM"
    gate.set()


def sample(node, name, **labels):
    return sum(
        s.value for s in node.metrics()[name].samples
        if labels.items() <= s.labels.items() and not s.name.endswith("_created"))


# --- Large bodies and windows ------------------------------------------------------------------------------------------

LARGE = 100 << 20


def test_large_bodies_pass_in_constant_memory(origin, node, tmp_path):
    """100 MB each way: what waits at any moment is bounded by windows."""
    piece = bytes(1 << 20)

    def handler(stream, request):
        stream.send(f"HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n".encode())
        for _ in range(LARGE // len(piece)):
            stream.send(piece)

    received = []

    def swallow(stream):
        head = stream.head()
        left = int(head.get("Content-Length"))
        while left:
            left -= len(stream.exactly(min(left, 65_536)))
        received.append(head)
        stream.send(ok())

    down = node(origin(handler))
    curl("--http2-prior-knowledge", f"http://127.0.0.1:{down.port}/", "--range", "0-9", "--output", "/dev/null")
    before = down.resident_bytes()
    out = tmp_path / "down"
    curl("--http2-prior-knowledge", f"http://127.0.0.1:{down.port}/", "--limit-rate", "60M", "--output", str(out))
    assert out.stat().st_size == LARGE
    assert down.resident_bytes() - before < 8 << 20
    up = node(origin(raw=swallow))
    before = up.resident_bytes()
    curl("--http2-prior-knowledge", f"http://127.0.0.1:{up.port}/", "--upload-file", str(out))
    assert up.resident_bytes() - before < 8 << 20 and received


def test_a_client_that_opens_no_window_holds_up_nobody_else(origin, node):
    def handler(stream, request):
        stream.send(ok(b"x" * (8 << 20) if request.target == "/large" else b"small"))

    g = node(origin(handler))
    with Client(g.port) as warm:
        warm.ask("/small")
    before = g.resident_bytes()
    with Client(g.port, reads=False) as client, Client(g.port) as other:
        large = [client.begin("/large") for _ in range(5)]
        client.until(lambda: sum(len(client.replies[s].body) for s in large) == 65_535, "the window is used up")
        for _ in range(50):
            assert other.ask("/small").body == b"small"
        assert g.resident_bytes() - before < 16 << 20
        # Where it opens the windows after all, all of it comes.
        client.reads = True
        for stream in large:
            client.connection.increment_flow_control_window(8 << 20, stream)
        client.connection.increment_flow_control_window(64 << 20)
        client.flush()
        for stream in large:
            assert len(client.finish(stream, 30).body) == 8 << 20


def test_an_upstream_that_does_not_read_closes_the_window(origin, node):
    release = threading.Event()

    def idle(stream):
        stream.head()
        release.wait(20)

    g = node(origin(raw=idle))
    with Client(g.port, timeout=1) as client:
        stream = client.begin("/", "POST", ends=False)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                client.send(stream, bytes(65_536))
                sent += 65_536
        assert sent < 32 << 20, "the kernel's buffers take some, the node little"
    release.set()


# --- The gateway's own answers -----------------------------------------------------------------------------------------


def test_policies_refuse_streams_and_the_connection_goes_on(origin, node):
    up = origin()
    limit = {"type": "rate-limit", "limits": [{"per": "consumer", "window": "3/1h"}]}
    g = node(up, consumers=[consumer("one", "alpha")], routes=[route(policies=[KEY, limit])])
    with Client(g.port) as client:
        missing = client.ask()
        assert missing.status == 401 and missing.fields["content-type"] == "application/problem+json"
        assert b"api-key-missing" in missing.body
        statuses = [client.ask("/", "GET", ("x-api-key", "alpha")).status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        # A body that nobody wants does not keep the answer back.
        assert client.ask("/", "POST", body=b"x" * 200_000).status == 401
        assert client.ask("/", "GET", ("x-api-key", "alpha")).status == 429
    assert len(up.requests) == 3
    until(lambda: len(g.log()) == 8, "every stream is logged")
    assert {line["protocol"] for line in g.log()} == {"HTTP/2"}


def test_a_client_that_cancels_frees_its_upstream(origin, node):
    gone = threading.Event()

    def handler(stream, request):
        stream.socket.settimeout(10)
        try:
            assert stream.socket.recv(1) == b""
        except ConnectionResetError:
            pass
        gone.set()
        return False

    g = node(origin(handler))
    with Client(g.port) as client:
        stream = client.begin()
        until(lambda: sample(g, "sluice_upstream_connections_open") == 1, "the upstream is asked")
        client.connection.reset_stream(stream, 8)
        client.flush()
        assert gone.wait(10), "the upstream's connection ends with the stream"


# --- Drain -------------------------------------------------------------------------------------------------------------


def test_a_drain_finishes_what_runs_in_two_steps(origin, node):
    release = threading.Event()

    def handler(stream, request):
        release.wait(10)
        stream.send(ok(b"late"))

    up = origin(handler)
    g = node(up)
    with Client(g.port) as client:
        stream = client.begin()
        until(lambda: up.requests, "the request runs")
        g.signal(15)
        client.until(lambda: len(client.leaving) == 2, "it says that it will go, and then that it takes no more")
        assert client.leaving == [(2**31 - 1, 0), (stream, 0)]
        release.set()
        assert client.finish(stream).body == b"late"
        while client.pump():
            pass
    assert g.stop() == 0


def test_a_drain_under_load_fails_no_request(origin, node):
    """Whatever a client has sent before it was told to go is answered. (h2load counts what it has not sent by then too.)"""
    g = node(origin())
    clients = [Client(g.port) for _ in range(4)]

    def load(client):
        while not client.leaving:
            while sum(not reply.ended for reply in client.replies.values()) < 16:
                client.begin()
            client.pump()
        client.until(lambda: all(reply.ended for reply in client.replies.values()), "all are answered")

    threads = [threading.Thread(target=load, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    until(lambda: sample(g, "sluice_http2_streams") > 200, "it is under load")
    assert g.stop() == 0
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    replies = [reply for client in clients for reply in client.replies.values()]
    assert len(replies) > 200 and {reply.status for reply in replies} == {200} and not any(reply.reset for reply in replies)
    assert len(g.log()) == len(replies) and {line["status"] for line in g.log()} == {200}
    for client in clients:
        client.close()


def test_idle_connections_are_told_to_go(origin, node):
    g = node(origin(), node={"timeouts": {"idle": "1s"}})
    with Client(g.port) as client:
        assert client.ask().status == 200
        started = time.monotonic()
        while client.pump():
            pass
        assert client.leaving and client.leaving[-1] == (1, 0) and 0.8 < time.monotonic() - started < 6


def test_h2load_finds_no_fault(origin, secured):
    g, port, _ = secured(origin())
    said = subprocess.run(
        ["h2load", "-n", "2000", "-c", "8", "-m", "20", f"https://127.0.0.1:{port}/"], capture_output=True, text=True,
        check=True, timeout=60).stdout
    assert "2000 succeeded, 0 failed, 0 errored" in said


# --- WebSocket (RFC 8441) ----------------------------------------------------------------------------------------------


def masked(opcode, payload):
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\1\2\3\4" + bytes(b ^ (i % 4 + 1) for i, b in enumerate(payload))


def test_a_connection_ends_after_so_many_requests(origin, node):
    up = origin(lambda stream, r: stream.send(ok(r.target.encode())) if r.target != "/held" else held.append(stream))
    held = []
    g = node(up, node={"limits": {"requestsPerConnection": 5}})
    with Client(g.port) as client:
        waiting = client.begin("/held")
        until(lambda: held, "the first is held")
        assert [client.ask(f"/{n}").body for n in range(4)] == [b"/%d" % n for n in range(4)]
        client.until(lambda: len(client.leaving) == 2, "it is asked for no more, then nothing more is taken")
        assert client.leaving == [(2**31 - 1, 0), (9, 0)]
        held[0].send(ok(b"late"))
        assert client.finish(waiting).body == b"late", "what runs is finished"
        while client.pump():
            pass
    with Client(g.port) as client:
        assert client.ask("/again").body == b"/again"


def test_who_does_not_listen_is_not_served_for_ever(origin, node):
    """A client that answers no PING and takes no notice of GOAWAY."""
    up = origin()
    g = node(up, node={"limits": {"requestsPerConnection": 5, "streamsPerConnection": 4}})
    with Frames(g.port) as frames:
        for n in range(30):
            frames.send(request(2 * n + 1))
            if n < 9:
                while (got := frames.next()) and not (got[2] == 2 * n + 1 and got[1] & 1):
                    pass
        frames.end()
    assert len(up.requests) == 9, "as many more as may have been on their way"


def opening(client, path="/chat", **options):
    return client.begin(
        path, "CONNECT", (":protocol", "websocket"), ("sec-websocket-version", "13"), ("origin", "http://localhost"),
        ends=False, **options)


def test_websocket_connections_are_streams(node, chat):
    """Three of them on one connection of HTTP/2, to an upstream of HTTP/1.1."""
    g = node(chat)
    with Client(g.port) as client:
        client.until(lambda: client.settings.get(8) == 1, "extended CONNECT is offered")
        streams = [opening(client) for _ in range(3)]
        for stream in streams:
            client.until(lambda: client.replies[stream].fields, "it is agreed to")
            assert client.replies[stream].status == 200
            client.send(stream, masked(1, b"hello"))
        for stream in streams:
            client.until(lambda: client.replies[stream].body == b"\x81\x05hello", "it comes back")
        assert sample(g, "sluice_tunnels_open") == 3
        client.send(streams[0], masked(8, b"\x03\xe8"), ends=True)
        assert client.finish(streams[0]).body.endswith(b"\x88\x02\x03\xe8")
        client.connection.reset_stream(streams[1])
        client.flush()
        until(lambda: sample(g, "sluice_tunnels_open") == 1, "two have ended")
        client.send(streams[2], masked(2, b"still"))
        client.until(lambda: client.replies[streams[2]].body.endswith(b"\x82\x05still"), "the third goes on")


def test_a_websocket_stream_may_be_refused_or_told_to_go(node, chat):
    g = node(chat, routes=[route("limited", "/limited", policies=[{"type": "websocket", "maxMessage": "1KiB"}]),
                           route("keyed", "/keyed", policies=[KEY]), route()],
             consumers=[consumer("one", "alpha")], node={"drainSeconds": 3})
    with Client(g.port) as client:
        client.until(lambda: client.settings.get(8) == 1, "extended CONNECT is offered")
        refused = opening(client, "/keyed")
        assert client.finish(refused).status == 401
        limited, chatting = opening(client, "/limited"), opening(client)
        for stream in (limited, chatting):
            client.until(lambda: client.replies[stream].fields, "it is agreed to")
        client.send(limited, b"\x82\xfe\x10\x00\1\2\3\4" + bytes(4096))
        assert client.finish(limited).body.startswith(b"\x88\x02\x03\xf1"), "1009"
        g.signal(15)
        assert client.finish(chatting, 10).body.startswith(b"\x88\x02\x03\xe9"), "1001"
    assert g.stop() == 0


def test_a_drain_waits_for_what_a_client_has_not_taken_yet(origin, node):
    g = node(origin(lambda stream, request: stream.send(ok(b"x" * 20_000))), node={"drainSeconds": 8})
    # The response is with the node, and the stream that it came on has ended, long before the client takes it.
    with Client(g.port, reads=False) as client:
        client.connection.update_settings({4: 1000})
        client.flush()
        client.until(lambda: client.connection.local_settings.initial_window_size == 1000, "the window is small")
        stream = client.begin()
        client.until(lambda: len(client.replies[stream].body) == 1000, "the window is used up")
        g.signal(15)
        client.until(lambda: len(client.leaving) == 2, "the node takes no more")
        time.sleep(1)
        client.reads = True
        client.connection.increment_flow_control_window(1 << 20, stream)
        client.flush()
        assert client.finish(stream).body == b"x" * 20_000
    assert g.stop() == 0
