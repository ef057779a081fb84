"""HTTP/2 to upstreams: many exchanges on few connections, and what happens when one of those goes."""

import json
import socket
import ssl
import subprocess
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from websockets.sync.client import connect as dial

from certificates import Authority
from http2 import text
from support import ask, connect, free_port, route, until
from test_http2 import Client, curl, masked, node, opening, sample  # noqa: F401


class Origin:
    """An upstream of HTTP/2. `handler(self, stream, fields, body)` answers requests whose body is complete."""

    def __init__(self, handler=None, context=None, settings=None):
        self.handler = handler or (lambda connection, stream, fields, body: connection.answer(stream))
        self.context = context
        self.settings = settings or {}
        self.requests = []
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(accepted,), daemon=True).start()

    def serve(self, accepted):
        try:
            if self.context:
                accepted = self.context.wrap_socket(accepted, server_side=True)
            connection = Connection(self, accepted)
            self.connections.append(connection)
            connection.run()
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.socket.close()


class Connection:
    def __init__(self, origin, accepted):
        self.origin, self.socket = origin, accepted
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        initial = {code: value for code, value in {**self.h2.local_settings, **origin.settings}.items()}
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=initial)
        self.h2.initiate_connection()
        self.flush()
        self.open = {}

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def run(self):
        while received := self.socket.recv(65_536):
            for event in self.h2.receive_data(received):
                self.take(event)
            self.flush()

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.open[event.stream_id] = (text(event.headers), b"")
        elif isinstance(event, h2.events.DataReceived):
            fields, body = self.open[event.stream_id]
            self.open[event.stream_id] = (fields, body + event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            fields, body = self.open.pop(event.stream_id)
            self.origin.requests.append(fields)
            self.origin.handler(self, event.stream_id, fields, body)

    def answer(self, stream, body=b"ok", *fields, status=200):
        self.h2.send_headers(stream, [(":status", str(status)), ("content-length", str(len(body))), *fields])
        self.h2.send_data(stream, body, end_stream=True)


@pytest.fixture
def origin2():
    """origin2(handler) starts an upstream of HTTP/2."""
    started = []

    def start(*arguments, **options):
        started.append(Origin(*arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def before(node, up, **options):
    """A node before upstreams of HTTP/2."""
    more = options.pop("upstream", {})
    return node(f"127.0.0.1:{up.port}", upstream={"protocol": "h2", **more}, **options)


def test_clients_of_both_versions_share_one_connection(origin2, node):
    up = origin2(lambda c, stream, fields, body: c.answer(stream, body or b"none", ("x-path", fields[":path"])))
    g = before(node, up)
    with Client(g.port) as client, connect(g.port) as old:
        for n in range(20):
            assert client.ask(f"/{n}", "POST", body=b"x" * n).body == (b"x" * n or b"none")
            old.send(f"POST /a{n}?b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            reply = old.response()
            assert (reply.status, reply.body, reply.get("x-path")) == (200, b"abc", f"/a{n}?b")
    assert len(up.connections) == 1
    fields = up.requests[-1]
    assert fields[":scheme"] == "http" and fields[":authority"] == "localhost" and "connection" not in fields
    assert sample(g, "sluice_upstream_connections_opened") == 1 and sample(g, "sluice_upstream_connections_open") == 1


def test_tls_by_alpn_with_the_right_name(origin2, node, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("up", "DNS:up.test")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    up = origin2(context=context)
    tls = {"authorities": str(authority.certificate), "serverName": "up.test"}
    assert ask(before(node, up, upstream={"tls": tls}).port).status == 200
    assert up.requests[0][":scheme"] == "https"
    assert ask(before(node, up, upstream={"tls": {**tls, "serverName": "other.test"}}).port).status == 502
    context.set_alpn_protocols(["http/1.1"])
    assert ask(before(node, up, upstream={"tls": tls}).port).status == 502, "who does not speak it is no upstream"
    assert len(up.requests) == 1


def test_another_connection_is_opened_when_none_has_room(origin2, node):
    waiting = []

    def handler(c, stream, fields, body):
        waiting.append((c, stream))

    up = origin2(handler, settings={3: 10})
    g = before(node, up)
    with Client(g.port) as client:
        # The settings of the first connection have to be known before the others come.
        first = client.begin("/")
        until(lambda: len(waiting) == 1, "the first arrives")
        streams = [client.begin(f"/{n}") for n in range(24)]
        until(lambda: len(waiting) == 25, "all arrive")
        assert sorted(sum(c is each for c, _ in waiting) for each in up.connections)[-1] <= 10
        assert 3 <= len(up.connections) <= 5
        for c, stream in waiting:
            c.answer(stream)
            c.flush()
        assert all(client.finish(stream).status == 200 for stream in [first, *streams])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_streams_are_tried_again(origin2, node, method):
    """Nothing was done with them, so that is safe for any method (RFC 9113 section 8.7)."""
    refused = []

    def handler(c, stream, fields, body):
        if len(refused) < 2:
            refused.append(stream)
            c.h2.reset_stream(stream, 7)
        else:
            c.answer(stream, body or b"none")

    g = before(node, origin2(handler))
    body = b"body" if method == "POST" else b""
    assert ask(g.port, method, body=body).body == (body or b"none") and len(refused) == 2


def test_streams_that_were_reset_otherwise_are_not(origin2, node):
    up = origin2(lambda c, stream, fields, body: c.h2.reset_stream(stream, 2))
    assert ask(before(node, up).port, "POST", body=b"x").status == 502
    assert len(up.requests) == 1


def test_a_goaway_moves_later_requests_to_another_connection(origin2, node):
    """Requests that it says were not processed are sent again; those that were end where they are."""
    held = []

    def handler(c, stream, fields, body):
        if fields[":path"] == "/held":
            held.append((c, stream))
        elif fields[":path"] == "/last":
            # As if it had crossed: the last stream named is that of /held.
            c.socket.sendall(c.h2.data_to_send() + b"\0\0\x08\x07\0\0\0\0\0" + held[0][1].to_bytes(4, "big") + bytes(4))
        else:
            c.answer(stream, b"new")

    def second(c, stream, fields, body):
        c.answer(stream, b"again")

    up = origin2(handler)
    g = before(node, up)
    with Client(g.port) as client:
        first = client.begin("/held")
        until(lambda: held, "the first is held")

        def switching(c, stream, fields, body):
            (second if c is not held[0][0] else handler)(c, stream, fields, body)

        up.handler = switching
        last = client.begin("/last", "POST", ends=True)
        assert client.finish(last).body == b"again"
        assert client.ask("/after").body == b"again"
        held[0][0].answer(held[0][1], b"kept")
        held[0][0].flush()
        assert client.finish(first).body == b"kept"
    assert len(up.connections) == 2
    until(lambda: sample(g, "sluice_upstream_connections_open") == 1, "the first connection is let go")


def test_an_upstream_that_goes_away_breaks_its_exchanges_and_comes_back(origin2, node):
    def handler(c, stream, fields, body):
        if fields[":path"] == "/break":
            c.socket.shutdown(socket.SHUT_RDWR)
        else:
            c.answer(stream)

    up = origin2(handler)
    g = before(node, up)
    assert ask(g.port).status == 200
    assert ask(g.port, "POST", "/break", body=b"x").status == 502
    assert ask(g.port).status == 200 and len(up.connections) == 2


def test_idle_connections_end(origin2, node):
    g = before(node, origin2(), upstream={"limits": {"idleTimeout": "1s"}})
    assert ask(g.port).status == 200
    assert sample(g, "sluice_upstream_connections_open") == 1
    until(lambda: sample(g, "sluice_upstream_connections_open") == 0, "it ends", 8)
    assert ask(g.port).status == 200


def test_a_connection_ends_after_so_many_requests(origin2, node):
    """It opens no more streams, ends when the last has ended, and says so."""
    told, held = [], []

    class Noted(Connection):
        def take(self, event):
            if isinstance(event, h2.events.ConnectionTerminated):
                told.append((self, event.error_code))
            super().take(event)

    def handler(c, stream, fields, body):
        c.__class__ = Noted
        if fields[":path"] == "/held":
            held.append((c, stream))
        else:
            c.answer(stream)

    up = origin2(handler)
    g = before(node, up, upstream={"limits": {"requestsPerConnection": 3}})
    with Client(g.port) as client:
        waiting = client.begin("/held")
        until(lambda: held, "the first is held")
        assert [client.ask(f"/{n}").status for n in range(7)] == [200] * 7
        assert len(up.connections) == 3 and up.connections[0] is held[0][0]
        until(lambda: told, "the second connection is over")
        assert [c for c, _ in told] == [up.connections[1]], "the first has still a stream, the third has room"
        held[0][0].answer(held[0][1], b"late")
        held[0][0].flush()
        assert client.finish(waiting).body == b"late"
    until(lambda: len(told) == 2 and told[1] == (up.connections[0], 0), "then it ends too")
    assert sample(g, "sluice_upstream_connections_open") == 1


def test_health_checks_speak_it(origin2, node):
    well = threading.Event()

    def flaky(c, stream, fields, body):
        c.answer(stream, b"flaky", status=200 if well.is_set() or fields[":path"] != "/health" else 503)

    up, steady = origin2(flaky), origin2(lambda c, stream, fields, body: c.answer(stream, b"steady"))
    g = node(f"127.0.0.1:{up.port}", f"127.0.0.1:{steady.port}", upstream={
        "protocol": "h2", "balance": "round-robin", "health": {"path": "/health", "interval": "200ms", "timeout": "150ms"}})

    def bodies():
        return {ask(g.port).body for _ in range(4)}

    until(lambda: bodies() == {b"steady"}, "the sick one is out")
    well.set()
    until(lambda: bodies() == {b"flaky", b"steady"}, "it is back")
    assert max(len(each.connections) for each in (up, steady)) <= 3, "checks share a connection too"


def test_large_bodies_pass_both_ways(node, tmp_path):
    """nghttpd at the other end."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "large").write_bytes(bytes(range(256)) * 160_000)
    port = free_port()
    server = subprocess.Popen(
        ["nghttpd", "--no-tls", "-d", str(folder), "--echo-upload", str(port)], stdout=subprocess.DEVNULL)
    try:
        g = node(f"127.0.0.1:{port}", upstream={"protocol": "h2"})
        until(lambda: ask(g.port, path="/large", method="HEAD").status == 200, "it serves")
        memory = g.resident_bytes()
        for version in ("--http1.1", "--http2-prior-knowledge"):
            got = curl(version, f"http://127.0.0.1:{g.port}/large")
            assert got == bytes(range(256)) * 160_000
            sent = curl(version, f"http://127.0.0.1:{g.port}/up", "--data-binary", f"@{folder}/large")
            assert sent == got
        assert g.resident_bytes() - memory < 12 << 20
    finally:
        server.kill()
        server.wait()


def test_websocket_passes_from_either_version(node, chat):
    """Two nodes: the first speaks HTTP/2 to the second, the second HTTP/1.1 to the echo."""
    inner = node(chat)
    g = node(f"127.0.0.1:{inner.port}", upstream={"protocol": "h2"}, routes=[route()])
    assert ask(g.port).status == 200, "the settings are known from here on"
    with Client(g.port) as client:
        client.until(lambda: client.settings.get(8) == 1, "extended CONNECT is offered")
        stream = opening(client)
        client.until(lambda: client.replies[stream].fields, "it is agreed to")
        client.send(stream, masked(1, b"hello"))
        client.until(lambda: client.replies[stream].body == b"\x81\x05hello", "it comes back")
    with dial(f"ws://127.0.0.1:{g.port}/chat") as talk:
        talk.send("from HTTP/1.1")
        assert talk.recv(10) == "from HTTP/1.1"


def test_an_upstream_that_takes_no_websocket_is_not_blamed_for_it(origin2, node):
    """It says nothing of RFC 8441: it is neither asked, nor tried again, nor ejected."""
    up = origin2()
    g = before(node, up, upstream={"ejection": {"consecutiveFailures": 2}, "retries": {"attempts": 3}})
    for n in range(4):
        with connect(g.port) as old:
            old.send(
                "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            reply = old.response()
            assert reply.status == 501 and json.loads(reply.body)["type"].endswith(":upgrade-not-supported")
        with Client(g.port) as client:
            client.until(lambda: client.settings.get(8) == 1, "extended CONNECT is offered")
            assert client.finish(opening(client)).status == 501
    assert ask(g.port).status == 200 and len(up.requests) == 1, "ordinary requests go on"
    assert sample(g, "sluice_upstream_ejections") == sample(g, "sluice_upstream_failures") == 0
