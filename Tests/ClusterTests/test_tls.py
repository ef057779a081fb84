"""TLS to clients: real clients (Python's ssl, curl, openssl) against real processes."""

import base64
import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import h2.connection
import pytest

from certificates import Authority
from nodes import SECRET
from sockets import Closing
from support import Gateway, ask, configuration, connect, free_port, sluice, until

REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


class Client(Closing):
    """A connection of TLS; what it negotiated, and requests over it."""

    def __init__(self, port, authority=None, name="localhost", context=None, session=None, timeout=15, **options):
        self.context = context or client_context(authority, **options)
        plain = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        try:
            self.socket = self.context.wrap_socket(plain, server_hostname=name, session=session)
        except BaseException:
            plain.close()
            raise
        self.buffer = b""

    def ask(self, request=REQUEST):
        self.socket.sendall(request)
        return self.response()

    def response(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(fields.get("content-length", 0))
        while len(self.buffer) < length:
            self.more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(lines[0].split()[1]), fields, body

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise EOFError
        self.buffer += got

    @property
    def subject(self):
        return dict(pair for part in self.socket.getpeercert()["subject"] for pair in part)["commonName"]


def client_context(authority, version=None, shows=None, ciphers=None, protocols=None):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    if shows:
        context.load_cert_chain(*map(str, shows))
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def pair(issued, **more):
    return {"certificate": str(issued[0]), "key": str(issued[1]), **more}


@pytest.fixture
def secured(authority, origin, gateway):
    """secured(certificates…, **tls) starts a gateway with one listener of TLS."""

    def start(*issued, listener=None, up=None, content=None, **tls):
        issued = issued or (authority.issue("site", "DNS:localhost"),)
        port = free_port()
        up = up or origin()
        section = {"certificates": [pair(one) if isinstance(one, tuple) else one for one in issued], **tls}
        plain = free_port()
        made = gateway(
            up, listeners=[{"address": f"127.0.0.1:{plain}"},
                           {"address": f"127.0.0.1:{port}", "tls": section, **(listener or {})}],
            process={"port": plain}, **(content or {}),
        )
        made.secure = port
        made.up = up
        return made

    return start


def metric(gateway, name):
    text = ask(gateway.admin, path="/metrics").body.decode()
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0)


def failures(gateway, reason):
    return metric(gateway, f'sluice_tls_handshake_failures_total{{reason="{reason}"}}')


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_requests_go_through_and_the_upstream_knows(secured, authority, version):
    g = secured()
    with Client(g.secure, authority, version=version, protocols=["h3", "http/1.1"]) as client:
        for _ in range(3):
            assert client.ask()[0] == 200
        assert client.socket.selected_alpn_protocol() == "http/1.1"
    assert g.up.requests[0].get("x-forwarded-proto") == "https"
    assert g.up.connections == 1
    line = until(g.log, "a line is written")[0]
    assert line["scheme"] == "https" and line["tls"] == ("1.3" if version == VERSIONS[1] else "1.2")
    assert metric(g, 'sluice_tls_handshakes_total{kind="full"}') == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_bodies_of_every_size_arrive_as_they_are(authority, secured, origin, version):
    up = origin(lambda stream, request: stream.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body) + request.body))
    g = secured(up=up)
    with Client(g.secure, authority, version=version) as client:
        for size in [0, 1, 16_383, 16_384, 16_385, 65_536, 1_000_000]:
            body = bytes(i * 7 & 255 for i in range(min(size, 4096))) * (size // 4096 + 1)
            body = body[:size]
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
            status, _, answer = client.ask(head + body)
            assert status == 200 and answer == body


def test_a_request_in_pieces_of_one_byte(secured, authority):
    g = secured()
    with Client(g.secure, authority) as client:
        for byte in REQUEST:
            client.socket.sendall(bytes([byte]))
        assert client.response()[0] == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_a_slow_reader_gets_everything(secured, authority, origin, version):
    size = 20_000_000
    up = origin(lambda stream, request: stream.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size))
    g = secured(up=up)
    with Client(g.secure, authority, version=version) as client:
        client.socket.sendall(REQUEST)
        time.sleep(1)
        assert client.response()[2] == b"x" * size
        assert client.ask()[0] == 200


def test_certificates_by_name_and_kind(secured, authority):
    first = authority.issue("first", "DNS:localhost", "DNS:first.test")
    rsa = authority.issue("first-rsa", "DNS:localhost", "DNS:first.test", kind="rsa")
    wild = authority.issue("wild", "DNS:*.wild.test")
    exact = authority.issue("exact", "DNS:exact.wild.test")
    g = secured(first, rsa, wild, exact)

    def shown(name, **options):
        with Client(g.secure, authority, name=name, **options) as client:
            return client.subject

    assert shown("first.test") == "first"
    assert shown("FIRST.test") == "first"
    assert shown("any.wild.test") == "wild"
    assert shown("exact.wild.test") == "exact"
    old = {"version": ssl.TLSVersion.TLSv1_2}
    assert shown("first.test", ciphers="ECDHE-RSA-AES128-GCM-SHA256", **old) == "first-rsa"
    assert shown("first.test", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", **old) == "first"
    context = client_context(authority)
    context.check_hostname = False
    for name in ["deeper.any.wild.test", "nobody.test", None]:
        with Client(g.secure, context=context, name=name) as client:
            assert client.subject == "first"


def test_plain_http_on_a_port_of_tls_is_refused(secured):
    g = secured()
    stream = connect(g.secure)
    stream.send(REQUEST)
    with pytest.raises((EOFError, OSError)):
        stream.response()
    until(lambda: failures(g, "not_tls") == 1, "counted")


def test_old_versions_and_ciphers_are_refused(secured, authority):
    g = secured(minVersion="1.3")
    with pytest.raises(ssl.SSLError):
        Client(g.secure, authority, version=ssl.TLSVersion.TLSv1_2)
    until(lambda: failures(g, "version") == 1, "counted")
    g = secured()
    weak = {"version": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"}
    with pytest.raises(ssl.SSLError):
        Client(g.secure, authority, **weak)
    until(lambda: failures(g, "no_common_cipher") == 1, "counted")
    with pytest.raises(ssl.SSLError):
        Client(g.secure, authority, protocols=["spdy/1"])
    until(lambda: failures(g, "no_common_protocol") == 1, "counted")
    g = secured(profile="intermediate")
    with Client(g.secure, authority, **weak) as client:
        assert client.ask()[0] == 200


# --- Resumption --------------------------------------------------------------------------------------------------------


def resumes(first, second, authority, version):
    """Whether a session of one port goes on at another."""
    context = client_context(authority, version=version)
    with Client(first, context=context) as client:
        assert client.ask()[0] == 200
        session = client.socket.session
    with Client(second, context=context, session=session) as client:
        assert client.ask()[0] == 200
        return client.socket.session_reused


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_go_on_on_any_node(tmp_path, authority, origin, redis, version):
    issued = authority.issue("site", "DNS:localhost")
    store, up, nodes = redis(), origin(), []

    def content(port, plain, secret):
        return configuration(
            up, store=store.url, cluster={"name": "test", "secret": secret},
            listeners=[{"address": f"127.0.0.1:{plain}"},
                       {"address": f"127.0.0.1:{port}", "tls": {"certificates": [pair(issued)]}}],
        )

    try:
        ports = []
        for secret in [SECRET, SECRET, "another secret of thirty-two bytes"]:
            port, plain = free_port(), free_port()
            folder = tmp_path / str(port)
            folder.mkdir()
            nodes.append(Gateway(folder, content(port, plain, secret), port=plain).start())
            ports.append(port)
        # Tickets of TLS 1.2 would give away what was recorded.
        is_resumed = version == ssl.TLSVersion.TLSv1_3
        assert resumes(ports[0], ports[1], authority, version) == is_resumed
        assert not resumes(ports[0], ports[2], authority, version)
        assert metric(nodes[1], 'sluice_tls_handshakes_total{kind="resumed"}') == (1 if is_resumed else 0)
        if is_resumed:
            until(lambda: any(line.get("resumed") for line in nodes[1].log()), "a line says so")
    finally:
        for node in nodes:
            node.__exit__()


def test_a_node_alone_resumes_until_told_otherwise(secured, authority):
    g = secured()
    assert resumes(g.secure, g.secure, authority, ssl.TLSVersion.TLSv1_3)
    g = secured(tickets=False)
    assert not resumes(g.secure, g.secure, authority, ssl.TLSVersion.TLSv1_3)


# --- Client certificates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_with_certificates(secured, authority, tmp_path, version):
    shows = authority.issue("alice", "URI:spiffe://test/alice")
    other = Authority(tmp_path, "stranger").issue("mallory", "URI:spiffe://test/alice")
    g = secured(clientCertificates={"authorities": str(authority.certificate)})

    def refused(**options):
        with pytest.raises((ssl.SSLError, OSError, EOFError)):
            with Client(g.secure, authority, version=version, **options) as client:
                client.ask()

    refused()
    until(lambda: failures(g, "certificate_missing") == 1, "counted")
    refused(shows=other)
    until(lambda: failures(g, "certificate_refused") == 1, "counted")
    assert not g.up.requests
    with Client(g.secure, authority, version=version, shows=shows) as client:
        forged = b"GET / HTTP/1.1\r\nHost: localhost\r\nClient-Cert: :AAAA:\r\nClient_Cert-Chain: :AAAA:\r\n\r\n"
        assert client.ask(forged)[0] == 200
    sent = g.up.requests[-1]
    der = ssl.PEM_cert_to_DER_cert(shows[0].read_text())
    assert sent.values("client-cert") == [f":{base64.b64encode(der).decode()}:"]
    assert not sent.values("client-cert-chain") and not sent.values("client_cert-chain")
    assert not resumes_with(g, authority, shows, version)


def resumes_with(g, authority, shows, version):
    context = client_context(authority, version=version, shows=shows)
    with Client(g.secure, context=context) as client:
        client.ask()
        session = client.socket.session
    if session is None:
        return False
    with Client(g.secure, context=context, session=session) as client:
        return client.socket.session_reused


@pytest.mark.parametrize("forwards", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_upstreams_get_the_chain_where_it_is_asked_for(secured, authority, version, forwards):
    first = authority.intermediate("first")
    second = first.intermediate("second")
    shows = second.issue("carol", "DNS:carol.test")
    # In the order that it is verified in, whatever order it is sent in; the root is the upstream's own.
    shows[0].write_text("".join(path.read_text() for path in (shows[0], first.certificate, second.certificate)))
    g = secured(clientCertificates={"authorities": str(authority.certificate), "forwardChain": forwards})
    with Client(g.secure, authority, version=version, shows=shows) as client:
        assert client.ask()[0] == 200
    sent = g.up.requests[-1]
    encode = lambda path: f":{base64.b64encode(ssl.PEM_cert_to_DER_cert(path.read_text())).decode()}:"
    assert len(sent.values("client-cert")) == 1
    wanted = [", ".join(encode(one.certificate) for one in (second, first))] if forwards else []
    assert sent.values("client-cert-chain") == wanted


def test_a_certificate_that_is_only_asked_for(secured, authority, tmp_path):
    shows = authority.issue("alice", "DNS:alice.test")
    other = Authority(tmp_path, "stranger").issue("mallory", "DNS:alice.test")
    g = secured(clientCertificates={"mode": "request", "authorities": str(authority.certificate)})
    with Client(g.secure, authority) as client:
        assert client.ask()[0] == 200
    assert not g.up.requests[-1].values("client-cert")
    with Client(g.secure, authority, shows=shows) as client:
        assert client.ask()[0] == 200
    assert g.up.requests[-1].values("client-cert")
    with pytest.raises((ssl.SSLError, OSError, EOFError)):
        with Client(g.secure, authority, shows=other) as client:
            client.ask()


def test_revoked_and_unnamed_clients_are_refused(secured, authority):
    alice = authority.issue("alice", "URI:spiffe://test/alice")
    bob = authority.issue("bob", "URI:spiffe://test/bob")
    carol = authority.issue("carol", "DNS:carol.staff.test")
    g = secured(clientCertificates={
        "authorities": str(authority.certificate), "revoked": str(authority.revoke(alice[0])),
        "names": ["spiffe://test/alice", "*.staff.test"],
    })
    for shows in [alice, bob]:
        with pytest.raises((ssl.SSLError, OSError, EOFError)):
            with Client(g.secure, authority, shows=shows) as client:
                client.ask()
    until(lambda: failures(g, "certificate_refused") == 2, "counted")
    with Client(g.secure, authority, shows=carol) as client:
        assert client.ask()[0] == 200


def test_a_staple_is_sent_with_the_certificate(secured, authority):
    issued = authority.issue("site", "DNS:localhost")
    g = secured(pair(issued, ocsp=str(authority.staple(issued[0]))))
    said = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{g.secure}", "-servername", "localhost", "-status"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
    ).stdout
    assert "OCSP Response Status: successful" in said and "Cert Status: good" in said


# --- Early data --------------------------------------------------------------------------------------------------------


class EarlyClient:
    """openssl s_client, which alone here sends early data. The first connection brings the session that others resume."""

    def __init__(self, folder, port, authority, *options):
        self.session = folder / f"session-{port}.pem"
        self.early = folder / "early.bin"
        self.command = [
            "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-CAfile",
            str(authority.certificate), "-tls1_3", *options]

    def greet(self, request=REQUEST):
        self.run(request, "-sess_out", str(self.session), until=lambda said: self.session.exists() and b"200" in said)
        return self

    def ask(self, *early, later=b"", until):
        """Says `early` before the handshake is complete and `later` behind it; what was said until `until` holds of it."""
        self.early.write_bytes(b"".join(early))
        return self.run(later, "-sess_in", str(self.session), "-early_data", str(self.early), until=until)

    def run(self, request, *options, until):
        with subprocess.Popen(
            [*self.command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                said = b""
                process.stdin.write(request)
                process.stdin.flush()
                ends = time.monotonic() + 15
                while not until(said):
                    assert time.monotonic() < ends, said
                    if select.select([process.stdout], [], [], 0.05)[0]:
                        got = os.read(process.stdout.fileno(), 65536)
                        assert got or until(said), said
                        said += got
            finally:
                process.kill()
        return said


def test_what_comes_before_the_handshake_is_complete(secured, authority, tmp_path):
    g = secured(earlyData=True)
    client = EarlyClient(tmp_path, g.secure, authority).greet()
    assert g.up.requests[-1].get("early-data") is None
    # The upstream answers before the client has finished its handshake, and what follows goes on behind that.
    said = client.ask(REQUEST.replace(b"hello", b"early"), later=REQUEST.replace(b"hello", b"later"), until=lambda said: (
        said.count(b"HTTP/1.1 200") == 2 and b"Early data was accepted" in said))
    assert said.count(b"HTTP/1.1 200") == 2
    early, later = g.up.requests[-2:]
    assert early.target == "/early" and early.get("early-data") == "1"
    assert later.target == "/later" and later.get("early-data") is None
    # A client's own word stays, early or not, and is not said twice.
    own = REQUEST.replace(b"\r\n\r\n", b"\r\nEarly-Data: 1\r\n\r\n")
    client.ask(own, later=own, until=lambda said: said.count(b"HTTP/1.1 200") == 2)
    assert [[value for name, value in r.fields if name.lower() == "early-data"] for r in g.up.requests[-2:]] == [["1"], ["1"]]


@pytest.mark.parametrize("request_", [
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi",
    b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
])
def test_what_changes_something_is_too_early(secured, authority, tmp_path, request_):
    g = secured(earlyData=True)
    client = EarlyClient(tmp_path, g.secure, authority).greet()
    said = client.ask(request_, until=lambda said: b"too-early" in said)
    assert b"HTTP/1.1 425 Too Early" in said and len(g.up.requests) == 1


def test_an_upstream_may_find_it_too_early_itself(secured, authority, origin, tmp_path):
    up = origin(lambda stream, request: stream.send(
        b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n" if request.get("early-data")
        else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    g = secured(earlyData=True, up=up)
    client = EarlyClient(tmp_path, g.secure, authority).greet()
    said = client.ask(REQUEST, later=REQUEST, until=lambda said: said.count(b"HTTP/1.1 ") == 2)
    assert said.index(b"HTTP/1.1 425") < said.index(b"HTTP/1.1 200")


def test_there_is_no_early_data_unless_it_is_asked_for(secured, authority, tmp_path):
    for tls in [{}, {"earlyData": True, "tickets": False}]:
        g = secured(**tls)
        client = EarlyClient(tmp_path, g.secure, authority)
        said = client.run(REQUEST, "-sess_out", str(client.session), until=lambda said: b"HTTP/1.1 200" in said)
        assert b"Max Early Data: 16384" not in said and g.up.requests[-1].get("early-data") is None


def test_a_connection_that_ends_with_its_early_request(secured, authority, tmp_path):
    g = secured(earlyData=True)
    client = EarlyClient(tmp_path, g.secure, authority).greet()
    said = client.ask(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), until=lambda said: (
        b"HTTP/1.1 200" in said and b"closed" in said))
    assert b"unexpected eof" not in said


def test_early_streams_of_http2(secured, authority, tmp_path):
    g = secured(earlyData=True)
    client = EarlyClient(tmp_path, g.secure, authority, "-alpn", "h2")

    def requests(*methods):
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        for number, method in enumerate(methods):
            connection.send_headers(2 * number + 1, [
                (":method", method), (":path", f"/{method}"), (":scheme", "https"), (":authority", "localhost"),
            ], end_stream=True)
        return connection.data_to_send()

    logged = lambda: sorted((line["method"], line["status"]) for line in g.log())
    client.run(requests("GET"), "-sess_out", str(client.session), until=lambda said: client.session.exists() and g.log())
    client.ask(requests("GET", "DELETE", "HEAD"), until=lambda said: len(g.log()) == 4)
    assert logged() == [("DELETE", 425), ("GET", 200), ("GET", 200), ("HEAD", 200)]
    assert [r.get("early-data") for r in g.up.requests] == [None, "1", "1"]


def test_early_data_on_another_node(authority, origin, tmp_path, gateway):
    """Tickets are the cluster's, so what a client says at once to the next node is understood there."""
    issued = authority.issue("site", "DNS:localhost")
    up, ports = origin(), (free_port(), free_port())
    for port in ports:
        plain = free_port()
        gateway(up, listeners=[{"address": f"127.0.0.1:{plain}"}, {"address": f"127.0.0.1:{port}", "tls": {
            "certificates": [pair(issued)], "earlyData": True}}], cluster={"secret": SECRET}, process={"port": plain})
    first, second = (EarlyClient(tmp_path, port, authority) for port in ports)
    second.session = first.greet().session
    second.ask(REQUEST, until=lambda said: b"HTTP/1.1 200" in said and b"Early data was accepted" in said)
    assert up.requests[-1].get("early-data") == "1"


# --- Certificates that change ------------------------------------------------------------------------------------------


def test_certificates_are_swapped_under_load_without_a_failed_request(secured, authority):
    old, new = authority.issue("old", "DNS:localhost"), authority.issue("new", "DNS:localhost")
    live = [authority.folder / name for name in ("live.pem", "live.key")]
    for source, target in zip(old, live):
        shutil.copy(source, target)
    g = secured(tuple(live), handshakesPerAddress=100_000)
    kept = Client(g.secure, authority)
    assert kept.ask()[0] == 200 and kept.subject == "old"
    stop, failed, seen = threading.Event(), [], set()

    def load():
        while not stop.is_set():
            try:
                with Client(g.secure, authority) as client:
                    assert client.ask()[0] == 200
                    seen.add(client.subject)
            except Exception as fault:  # anything at all is what must not happen
                failed.append(repr(fault))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        # First by itself (a key alone is of no use, and changes nothing), then at once, as a signal asks for it.
        shutil.copy(new[1], live[1])
        time.sleep(0.2)
        shutil.copy(new[0], live[0])
        until(lambda: "new" in seen, "the new certificate is shown", seconds=30)
        for source, target in zip(old, live):
            shutil.copy(source, target)
        seen.clear()
        g.reload()
        until(lambda: "old" in seen, "the old one again")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert kept.ask()[0] == 200
    kept.close()


# --- Limits ------------------------------------------------------------------------------------------------------------


def test_a_handshake_that_takes_too_long(secured):
    g = secured(handshakeTimeout="300ms")
    with socket.create_connection(("127.0.0.1", g.secure), timeout=10) as silent:
        began = time.monotonic()
        try:
            assert silent.recv(1) == b""
        except ConnectionError:
            pass
        assert 0.2 < time.monotonic() - began < 5
    until(lambda: failures(g, "timed_out") == 1, "counted")


def test_a_first_message_that_is_too_large(secured):
    g = secured(helloBytes="2KiB")
    with socket.create_connection(("127.0.0.1", g.secure), timeout=10) as endless:
        # A ClientHello of 60,000 bytes, in records of 4,000.
        endless.sendall(b"".join(
            b"\x16\x03\x01\x0f\xa0" + (b"\x01\x00\xea\x60\x03\x03" + b"r" * 3994 if i == 0 else b"r" * 4000) for i in range(8)))
        try:
            while endless.recv(4096):
                pass
        except ConnectionError:
            pass
    until(lambda: failures(g, "too_large") + failures(g, "malformed") == 1, "counted")


def test_an_address_that_begins_too_many_handshakes(secured, authority):
    g = secured(handshakesPerAddress=5)
    outcomes = []
    for _ in range(12):
        try:
            with Client(g.secure, authority) as client:
                outcomes.append(client.ask()[0])
        except (ssl.SSLError, OSError, EOFError):
            outcomes.append(0)
    assert outcomes[:5] == [200] * 5 and 0 in outcomes
    assert metric(g, 'sluice_connections_refused_total{reason="handshake_limit"}') >= 1
    g = secured(handshakesPerAddress=5, content={"node": {"trustedProxies": ["127.0.0.1/32"]}})
    for _ in range(12):
        with Client(g.secure, authority) as client:
            assert client.ask()[0] == 200


def test_garbage_harms_nobody(secured, authority):
    g = secured()
    began = time.monotonic()
    for garbage in [b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, b"\x17\x03\x03\0\x05hello", b"\x16\x03\x01\0\0" * 100, b"\x80\x2e\x01\x00\x02"]:
        with socket.create_connection(("127.0.0.1", g.secure), timeout=10) as stream:
            try:
                stream.sendall(garbage)
                stream.shutdown(socket.SHUT_WR)
                while stream.recv(4096):
                    pass
            except OSError:
                pass
    # None of them had to wait for a time limit.
    assert time.monotonic() - began < 5
    with Client(g.secure, authority) as client:
        assert client.ask()[0] == 200


def test_keys_that_change_on_the_way(secured, authority):
    g = secured()
    # A line K asks for new keys in both directions; k in one.
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{g.secure}", "-servername", "localhost", "-CAfile",
         str(authority.certificate), "-tls1_3"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    said = b""
    try:
        for command in [b"K\n", b"k\n", b"K\n"]:
            client.stdin.write(command)
            client.stdin.flush()
            time.sleep(0.3)
            client.stdin.write(b"GET /changed HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.stdin.flush()
            time.sleep(0.3)
        client.stdin.write(b"Q\n")
        said = client.communicate(timeout=10)[0]
    finally:
        client.kill()
    assert said.count(b"KEYUPDATE") == 3 and said.count(b"HTTP/1.1 200 OK") == 3, said[-2000:]


def test_broken_records_end_the_connection(secured, authority):
    g = secured()
    client = Client(g.secure, authority)
    assert client.ask()[0] == 200
    raw = socket.socket(fileno=client.socket.detach())
    raw.settimeout(10)
    raw.sendall(b"\x17\x03\x03\x00\x40" + b"\0" * 64)
    said = raw.recv(4096)
    # An alert, encrypted as everything is.
    assert said[:3] == b"\x17\x03\x03" and raw.recv(4096) == b""
    raw.close()


# --- Around it ---------------------------------------------------------------------------------------------------------


def test_plain_http_is_sent_to_https(secured, authority):
    g = secured(hsts={"maxAge": "1d", "includeSubdomains": True})
    with Client(g.secure, authority) as client:
        assert client.ask()[1]["strict-transport-security"] == "max-age=86400; includeSubDomains"
    assert ask(g.port).get("strict-transport-security") is None
    port = free_port()
    content = json.loads(g.file.read_text())
    content["listeners"].append({"address": f"127.0.0.1:{port}", "redirectToHTTPS": g.secure})
    g.write(content)
    g.reload()
    until(lambda: ask(port).status == 308, "the listener is open")
    answer = ask(port, path="/a/b?c=d", host=f"localhost:{port}")
    assert answer.get("location") == f"https://localhost:{g.secure}/a/b?c=d"


def test_tls_behind_a_proxy_header(secured, authority):
    g = secured(listener={"proxyProtocol": True})
    header = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n"
    context = client_context(authority)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", g.secure), timeout=10) as plain:
        first = header
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(first + outgoing.read())
                first = b""
                incoming.write(plain.recv(65536))
        session.write(REQUEST)
        plain.sendall(outgoing.read())
        answer = b""
        while b"ok" not in answer:
            incoming.write(plain.recv(65536))
            try:
                answer += session.read(65536)
            except ssl.SSLWantReadError:
                pass
    assert answer.startswith(b"HTTP/1.1 200")
    assert g.up.requests[0].get("x-forwarded-for") == "203.0.113.7"


def test_a_drain_ends_connections_in_good_order(secured, authority, origin):
    up = origin(lambda stream, request: (time.sleep(1), stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
    g = secured(up=up)
    client = Client(g.secure, authority)
    client.socket.sendall(REQUEST)
    until(lambda: up.requests, "the request is with the origin")
    g.process.terminate()
    status, fields, _ = client.response()
    assert status == 200 and fields["connection"] == "close"
    # An end in good order: a cut would be an error of TLS.
    assert client.socket.recv(1) == b""
    client.close()
    g.process.wait(10)


@pytest.mark.parametrize("arguments", [["--tlsv1.3"], ["--tls-max", "1.2"]])
def test_curl(secured, authority, arguments):
    g = secured()
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(authority.certificate), *arguments, f"https://localhost:{g.secure}/a",
         f"https://localhost:{g.secure}/b"],
        capture_output=True, text=True, timeout=20,
    )
    assert done.stdout == "okok", done.stderr


@pytest.mark.parametrize("grade, options", [("intermediate", {}), ("modern", {"minVersion": "1.3"})])
def test_a_scanner_finds_nothing(secured, authority, grade, options):
    """Versions, ciphers, curves, the certificate, and the known attacks, by Mozilla's rules."""
    g = secured(handshakesPerAddress=100_000, **options)
    said = subprocess.run(
        [sys.executable, "-m", "sslyze", "--certinfo_ca_file", str(authority.certificate), f"--mozilla_config={grade}",
         f"localhost:{g.secure}"],
        capture_output=True, text=True, timeout=120,
    ).stdout
    assert "OK - Compliant" in said, said[-3000:]
    assert "VULNERABLE" not in said and "Exception" not in said, said
    with Client(g.secure, authority) as client:
        assert client.ask()[0] == 200


# --- What check says ---------------------------------------------------------------------------------------------------


def check(gateway_file, *arguments):
    return sluice("check", *arguments, str(gateway_file))


def test_check_reads_the_files(tmp_path, authority, origin):
    issued, other = authority.issue("site", "DNS:localhost"), authority.issue("other", "DNS:localhost")
    file = tmp_path / "check.json"

    def says(tls):
        file.write_text(json.dumps(configuration(
            "127.0.0.1:9", listeners=[{"address": "127.0.0.1:8443", "tls": tls}]), indent=1))
        return check(file)

    fine = says({"certificates": [pair(issued)]})
    assert fine.returncode == 0, fine.stderr
    wrong = says({"certificates": [{"certificate": str(issued[0]), "key": str(other[1])}]})
    assert wrong.returncode == 1 and "does not belong" in wrong.stderr and "listeners[0].tls.certificates[0]" in wrong.stderr
    assert "BEGIN" not in wrong.stderr
    missing = says({"certificates": [{"certificate": "nowhere.pem", "key": str(other[1])}]})
    assert "nowhere.pem" in missing.stderr
    unknown = says({"certificates": [pair(issued)], "minVersoin": "1.3"})
    assert unknown.returncode == 1 and "minVersion" in unknown.stderr
    ending = says({"certificates": [pair(authority.issue("ending", "DNS:localhost", days=3))]})
    assert ending.returncode == 0 and "expires in" in ending.stderr
    issued[1].chmod(0o644)
    assert "others may read" in says({"certificates": [pair(issued)]}).stderr
