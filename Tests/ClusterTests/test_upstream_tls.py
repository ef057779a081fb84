"""TLS to upstreams, and from a router to its nodes: real servers, of Python's ssl and our own."""

import shutil
import socket
import ssl
import threading
import time

import pytest

from certificates import Authority
from nodes import Router
from support import Gateway, Origin, Stream, ask, configuration, connect, free_port, ok, until


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


class SecureOrigin(Origin):
    """An origin that speaks TLS; `sessions` tells of each connection whether it was resumed, `shown` what clients showed."""

    def __init__(self, issued, handler=None, clients=None, version=None, **options):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*map(str, issued))
        self.context.set_alpn_protocols(["http/1.1"])
        if version:
            self.context.maximum_version = version
        if clients:
            self.context.load_verify_locations(str(clients.certificate))
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.sessions, self.shown, self.names, self.protocols = [], [], [], []
        self.context.sni_callback = lambda session, name, context: self.names.append(name)
        super().__init__(handler, **options)

    def serve(self, stream):
        try:
            secured = self.context.wrap_socket(stream.socket, server_side=True)
        except (OSError, ssl.SSLError):
            stream.close()
            return
        self.sessions.append(secured.session_reused)
        self.shown.append(secured.getpeercert())
        self.protocols.append(secured.selected_alpn_protocol())
        super().serve(Stream(secured))


@pytest.fixture
def secure_origin(authority):
    started = []

    def start(*names, issued=None, handler=None, **options):
        issued = issued or authority.issue(f"origin-{len(started)}", *(names or ["DNS:localhost"]))
        started.append(SecureOrigin(issued, handler, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def before(up, authority, **tls):
    """The options of an upstream before `up`."""
    return {"tls": {"authorities": str(authority.certificate), **tls}}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_go_through_and_connections_are_kept(gateway, secure_origin, authority, version):
    echo = lambda stream, request: stream.send(ok(request.body))
    up = secure_origin("DNS:localhost", handler=echo, version=version)
    g = gateway(f"localhost:{up.port}", upstream=before(up, authority))
    for size in [0, 1, 16_384, 300_000]:
        answer = ask(g.port, "POST", body=b"x" * size)
        assert answer.status == 200 and answer.body == b"x" * size
    assert up.connections == 1 and up.names == ["localhost"] and up.protocols == ["http/1.1"]


def test_an_upstream_that_cannot_prove_its_name_gets_nothing(gateway, secure_origin, authority, tmp_path):
    up = secure_origin("DNS:other.test", "IP:127.0.0.1")
    stranger = Authority(tmp_path, "stranger")
    refused = [
        (f"localhost:{up.port}", before(up, authority)),
        (f"127.0.0.1:{up.port}", before(up, stranger)),
        (f"127.0.0.1:{up.port}", {"tls": {}}),
        (f"127.0.0.1:{up.port}", before(up, authority, serverName="wrong.test")),
    ]
    for address, options in refused:
        g = gateway(address, upstream=options)
        assert ask(g.port).status == 502
        # Retried where it failed before anything was sent.
        assert metric(g, "sluice_upstream_tls_failures_total") >= 1
    assert not up.requests
    accepted = [
        (f"127.0.0.1:{up.port}", before(up, authority)),
        (f"localhost:{up.port}", before(up, authority, serverName="other.test")),
        (f"localhost:{up.port}", {"tls": {"verify": False}}),
    ]
    for address, options in accepted:
        g = gateway(address, upstream=options)
        assert ask(g.port).status == 200
    # A connection that names nobody (an address has no name) calls back as well, with None.
    assert "other.test" in up.names


def test_a_plain_upstream_is_a_bad_gateway(gateway, origin, authority):
    up = origin()
    g = gateway(up, upstream=before(up, authority))
    # 504 where it waits for the end of what it takes for a request.
    assert ask(g.port).status in (502, 504)
    assert not up.requests


def test_the_gateway_shows_its_certificate(gateway, secure_origin, authority):
    shows = authority.issue("gateway", "DNS:gateway.test")
    up = secure_origin(clients=authority)
    g = gateway(f"localhost:{up.port}", upstream=before(up, authority))
    assert ask(g.port).status == 502
    g = gateway(f"localhost:{up.port}", upstream=before(
        up, authority, certificate=str(shows[0]), key=str(shows[1])))
    assert ask(g.port).status == 200
    assert dict(part[0] for part in up.shown[-1]["subject"])["commonName"] == "gateway"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(gateway, secure_origin, authority, version):
    up = secure_origin(
        version=version, handler=lambda stream, request: stream.send(ok(b"ok", ("Connection", "close"))) and False)
    g = gateway(f"localhost:{up.port}", upstream=before(up, authority))
    for _ in range(4):
        assert ask(g.port).status == 200
    until(lambda: len(up.sessions) >= 4, "four connections")
    assert up.sessions[0] is False and sum(up.sessions[1:]) >= 2


def test_a_response_that_is_cut_off_is_not_taken_for_a_whole(gateway, secure_origin, authority):
    def tear(stream, request):
        stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart of it")
        # The end of the connection without the end of TLS.
        plain = socket.socket(fileno=stream.socket.detach())
        plain.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        plain.close()
        return False

    up = secure_origin(handler=tear)
    g = gateway(f"localhost:{up.port}", upstream=before(up, authority))
    stream = connect(g.port)
    stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with pytest.raises((EOFError, OSError)):
        # The chunked body has no end.
        assert stream.response().complete is False
        raise EOFError


def test_health_is_asked_for_over_tls(gateway, secure_origin, authority):
    up = secure_origin()
    g = gateway(f"localhost:{up.port}", upstream={
        **before(up, authority), "health": {"path": "/healthz", "interval": "100ms", "timeout": "100ms"}})
    until(lambda: sum(r.target == "/healthz" for r in up.requests) >= 2, "its health is asked for")
    assert ask(g.port).status == 200
    assert metric(g, "sluice_upstream_healthy") in (None, 1.0)


def metric(gateway, name):
    for line in ask(gateway.admin, path="/metrics").body.decode().splitlines():
        if line.startswith(name):
            return float(line.split()[-1])
    return None


def test_what_changes_is_in_force_for_the_next_request(gateway, secure_origin, authority):
    up = secure_origin("DNS:localhost", "DNS:other.test")
    address = f"localhost:{up.port}"
    g = gateway(address, upstream=before(up, authority))
    assert ask(g.port).status == 200
    g.reload(configuration(address, upstream=before(up, authority, serverName="other.test")))
    until(lambda: ask(g.port).status == 200 and up.names[-1] == "other.test", "the other name is asked for")
    assert up.connections == 2
    g.reload(configuration(address, upstream=before(up, authority, serverName="wrong.test")))
    until(lambda: ask(g.port).status == 502, "it is not verified any more")


def live(authority, *issued):
    """Copies of a certificate and its key, to be replaced."""
    paths = [authority.folder / name for name in ("live.pem", "live.key")]
    for source, target in zip(issued, paths):
        shutil.copy(source, target)
    return paths


def common_name(shown):
    return dict(part[0] for part in shown["subject"])["commonName"]


def test_files_that_change_are_taken_over_without_a_failed_request(gateway, secure_origin, authority, tmp_path):
    """The certificate that is shown, and then the authorities; requests that run end on their connections."""
    stranger = Authority(tmp_path, "stranger")
    trusted = tmp_path / "trusted.pem"
    shutil.copy(authority.certificate, trusted)
    shown = live(authority, *authority.issue("old", "DNS:old.test"))
    gate = threading.Event()

    def slowly(stream, request):
        if request.target == "/slow":
            gate.wait(40)
        stream.send(ok(b"whole"))

    up = secure_origin(clients=authority, handler=slowly)
    g = gateway(f"localhost:{up.port}", upstream={
        "tls": {"authorities": str(trusted), "certificate": str(shown[0]), "key": str(shown[1])}})
    slow = connect(g.port)
    slow.socket.settimeout(60)
    slow.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: up.shown, "a request runs")
    stop, failed = threading.Event(), []

    def load():
        while not stop.is_set():
            answer = ask(g.port)
            if answer.status != 200:
                failed.append(answer.status)
            time.sleep(0.01)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        live(authority, *authority.issue("new", "DNS:new.test"))
        until(lambda: common_name(up.shown[-1]) == "new", "the new certificate is shown", seconds=30)
        assert common_name(up.shown[0]) == "old"
    finally:
        stop.set()
        thread.join()
    assert not failed
    gate.set()
    assert slow.response().body == b"whole"
    # A key that does not belong to the certificate changes nothing.
    shutil.copy(stranger.issue("other", "DNS:other.test")[1], shown[1])
    shutil.copy(stranger.certificate, trusted)
    until(lambda: "certificates in use stay" in g.said(), "it is said", seconds=30)
    assert ask(g.port).status == 200
    live(authority, authority.folder / "old.pem", authority.folder / "old.key")
    until(lambda: ask(g.port).status == 502, "the authority is not trusted any more", seconds=30)


def test_a_failed_request_under_load_is_none(gateway, secure_origin, authority):
    """Many connections at once, each with its own handshake."""
    up = secure_origin(handler=lambda stream, request: (time.sleep(0.02), stream.send(ok()))[1])
    g = gateway(f"localhost:{up.port}", upstream=before(up, authority))
    statuses = []
    threads = [threading.Thread(target=lambda: [statuses.append(ask(g.port).status) for _ in range(5)]) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 100


def test_a_router_speaks_tls_to_its_nodes(tmp_path, origin, authority):
    issued = authority.issue("node", "DNS:nodes.internal")
    up = origin()
    plain, secure, port = free_port(), free_port(), free_port()
    node = Gateway(tmp_path, configuration(up, listeners=[
        {"address": f"127.0.0.1:{plain}"},
        {"address": f"127.0.0.1:{secure}", "tls": {"certificates": [
            {"certificate": str(issued[0]), "key": str(issued[1])}]}}]), port=plain)
    router = Router(tmp_path, {
        "listeners": [{"address": f"127.0.0.1:{port}"}],
        "router": {"nodes": [f"127.0.0.1:{secure}"], "tls": {
            "authorities": str(authority.certificate), "serverName": "nodes.internal"}},
    }, port=port)
    try:
        node.start()
        router.start()
        assert ask(port).status == 200
        assert up.requests[-1].get("x-forwarded-proto") in ("http", "https")
        assert any(line.get("tls") == "1.3" for line in until(node.log, "the node has written a line"))
        # The router takes over whom it trusts when the file changes.
        shutil.copy(Authority(tmp_path, "stranger").certificate, authority.certificate)
        until(lambda: ask(port).status in (502, 503), "the nodes are not trusted any more", seconds=30)
    finally:
        router.__exit__()
        node.__exit__()
