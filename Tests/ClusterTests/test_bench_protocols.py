"""`sluice bench` over TLS and HTTP/2: what it counts is what servers of other makers have seen."""

import json
import socket
import ssl
import subprocess
import time

import pytest

from certificates import Authority
from http2 import RST_STREAM
from support import SLUICE, accepts, free_port, ok, sluice, until
from test_http2_upstream import origin2  # noqa: F401
from test_upstream_tls import authority, secure_origin  # noqa: F401


def bench(*words, status=0):
    """The result of a run as JSON."""
    done = sluice("bench", "--quiet", "--json", "-", *words, timeout=60)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def refused(*words):
    """Why there is no result."""
    done = sluice("bench", "--quiet", "-d", "1s", *words, timeout=60)
    assert done.returncode == 1 and done.stdout == "", done.stdout
    return done.stderr


def closing(stream, request):
    stream.send(ok(b"ok", ("Connection", "close")))
    return False


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "small").write_bytes(b"x" * 100)
    (folder / "large").write_bytes(b"x" * 300_000)
    return folder


@pytest.fixture
def nghttpd(files, authority):
    """nghttpd(*options, secure) starts one that serves `files`; returns its port."""
    started = []

    def start(*options, secure=False):
        port = free_port()
        certificate, key = authority.issue("nghttpd", "DNS:localhost")
        last = [str(port), str(key), str(certificate)] if secure else ["--no-tls", str(port)]
        started.append(subprocess.Popen(["nghttpd", "-d", str(files), *options, *last], stdout=subprocess.DEVNULL))
        until(lambda: accepts(port), "nghttpd listens")
        return port

    yield start
    for each in started:
        each.kill()
        each.wait()


@pytest.fixture
def echo(tmp_path, authority):
    """The port of a `sluice echo` that speaks TLS too."""
    port = free_port()
    certificate, key = authority.issue("echo", "DNS:localhost")
    process = subprocess.Popen(
        [str(SLUICE), "echo", "--plain", "-a", f"127.0.0.1:{port}", "--tls-cert", str(certificate), "--tls-key", str(key)],
        stdout=subprocess.DEVNULL)
    until(lambda: accepts(port), "the echo listens")
    yield port
    process.terminate()
    assert process.wait(10) == 0


# --- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_handshakes_are_counted_as_the_server_counts_them(secure_origin, authority, version):
    up = secure_origin("DNS:localhost", handler=closing, version=version)
    words = ("-n", "40", "-c", "2", "--no-keepalive", "--ca", authority.certificate, f"https://localhost:{up.port}/")
    result = bench(*words)
    found = result["handshakes"]
    assert result["responses"] == 40 and not any(result["errors"].values())
    assert (found["full"], found["resumed"]) == (up.sessions.count(False), up.sessions.count(True))
    assert found["resumed"] >= 30 and found["failed"] == 0
    assert up.names == ["localhost"] * 40 and set(up.protocols) == {"http/1.1"}
    # Key exchange and signature take their time; a connection is open only behind them.
    assert found["fullNanoseconds"]["min"] > 100_000
    assert result["connectNanoseconds"]["min"] >= found["resumedNanoseconds"]["min"]
    assert result["latencyNanoseconds"]["min"] > result["connectNanoseconds"]["min"]
    up.sessions.clear()
    found = bench("--no-resume", *words)["handshakes"]
    assert (found["full"], found["resumed"]) == (40, 0) and up.sessions == [False] * 40


def test_a_kept_connection_shakes_hands_once(secure_origin, authority):
    up = secure_origin("DNS:localhost", handler=lambda stream, request: stream.send(ok(b"x" * 70_000)))
    result = bench("-n", "50", "-c", "2", "--ca", authority.certificate, f"https://localhost:{up.port}/")
    assert result["responses"] == 50 and result["receivedBytes"] > 50 * 70_000
    assert result["handshakes"]["full"] == 2 == len(up.sessions)
    assert result["plan"]["protocol"] == "http/1.1" and result["plan"]["tls"] is True


def test_certificates_are_verified(tmp_path, secure_origin, authority):
    up = secure_origin("DNS:localhost")
    here, there = f"https://localhost:{up.port}/", f"https://127.0.0.1:{up.port}/"
    stranger = Authority(tmp_path, "stranger")
    assert "certificate is not good" in refused(here)
    assert "certificate is not good" in refused("--ca", stranger.certificate, here)
    assert "certificate is not good" in refused("--ca", authority.certificate, there), "it is good for localhost only"
    result = bench("-d", "300ms", "-c", "1", "--no-keepalive", here, status=1)
    assert result["responses"] == 0 and result["handshakes"]["failed"] > 0
    assert any("certificate is not good" in warning for warning in result["warnings"])
    assert up.requests == []
    assert bench("-n", "4", "-c", "1", "--insecure", there)["responses"] == 4


# --- HTTP/2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
def test_nghttpd_answers_every_stream(nghttpd, authority, secure):
    port = nghttpd(secure=secure)
    words = ("--h2", "--ca", authority.certificate) if secure else ("--h2c",)
    scheme = "https" if secure else "http"
    for path, size in (("small", 100), ("large", 300_000), ("missing", 0)):
        result = bench("-n", "200", "-c", "3", "--streams", "7", *words, f"{scheme}://localhost:{port}/{path}")
        assert result["statuses"] == {"404" if path == "missing" else "200": 200}
        assert not any(result["errors"].values()) and result["reconnections"] == 0
        assert result["receivedBytes"] > 200 * size
        assert result["connectNanoseconds"]["count"] == 3
        assert result["plan"]["protocol"] == ("h2" if secure else "h2c") and result["plan"]["streams"] == 7
        if secure:
            assert result["handshakes"]["full"] == 3


def test_an_open_loop_is_held(nghttpd):
    result = bench("-R", "500", "-d", "2s", "-c", "2", "--streams", "4", "--h2c", f"http://127.0.0.1:{nghttpd()}/small")
    assert result["openLoop"]["held"] and result["openLoop"]["planned"] == 1000 == result["responses"]


def test_a_server_that_allows_fewer_streams_is_not_asked_for_more(nghttpd):
    port = nghttpd("-m", "3")
    result = bench("-n", "300", "-c", "2", "--streams", "20", "--h2c", f"http://127.0.0.1:{port}/small")
    assert result["responses"] == 300 and not any(result["errors"].values())
    assert result["plan"]["streams"] == 3 and result["reconnections"] == 0
    assert any("3 streams in place of 20" in warning for warning in result["warnings"])


def test_bodies_and_fields_go_with_every_request(origin2):
    seen = []

    def handler(connection, stream, fields, body):
        seen.append((fields[":method"], fields[":path"], fields[":authority"], fields["x-a"], body))
        connection.answer(stream)

    up = origin2(handler)
    body = "x" * 100_000
    bench("-n", "6", "-c", "1", "--streams", "2", "--h2c", "-H", "X-A: 1", "-b", body, f"http://127.0.0.1:{up.port}/up?a=b")
    assert seen == [("POST", "/up?a=b", f"127.0.0.1:{up.port}", "1", body.encode())] * 6


def test_a_stream_whose_end_comes_late_is_not_reset(origin2):
    """A server may end a stream with an empty frame behind the last byte; clients that reset it look like an attack."""
    sent = []

    def handler(connection, stream, fields, body):
        connection.h2.send_headers(stream, [(":status", "200"), ("content-length", "2")])
        connection.h2.send_data(stream, b"ok")
        connection.flush()
        time.sleep(0.02)
        try:
            received = connection.socket.recv(65_536, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            received = b""
        while received:
            sent.append(received[3])
            received = received[9 + int.from_bytes(received[:3], "big") :]
        connection.h2.end_stream(stream)

    up = origin2(handler)
    result = bench("-n", "10", "-c", "1", "--h2c", f"http://127.0.0.1:{up.port}/")
    assert result["responses"] == 10 and not any(result["errors"].values())
    assert RST_STREAM not in sent and len(up.connections) == 1
    # Measured to the last byte, and the next request is sent behind the end.
    assert result["latencyNanoseconds"]["p50"] < 20_000_000 and result["elapsedNanoseconds"] > 180_000_000


def test_resets_and_goaway_are_errors_of_their_own(origin2):
    def resetting(connection, stream, fields, body):
        if len(up.requests) % 2:
            connection.answer(stream)
        else:
            connection.h2.reset_stream(stream, 2)

    up = origin2(resetting)
    result = bench("-n", "20", "-c", "1", "--h2c", f"http://127.0.0.1:{up.port}/")
    assert result["responses"] == 10 and result["errors"]["streamReset"] == 10
    assert sum(result["errors"].values()) == 10 and result["reconnections"] == 0

    def leaving(connection, stream, fields, body):
        if stream == 1:
            return connection.answer(stream)
        connection.h2.close_connection(last_stream_id=1)
        connection.flush()
        raise ConnectionError("it has left")

    up = origin2(leaving)
    result = bench("-n", "10", "-c", "1", "--h2c", f"http://127.0.0.1:{up.port}/")
    assert result["responses"] == 5 and result["errors"]["goAway"] == 5
    assert sum(result["errors"].values()) == 5 and result["reconnections"] == 4 == len(up.connections) - 1


def test_a_server_of_something_else_is_told_apart(secure_origin, authority, origin, nghttpd):
    up = secure_origin("DNS:localhost")
    said = refused("--h2", "--ca", authority.certificate, f"https://localhost:{up.port}/")
    assert "does not choose HTTP/2" in said
    said = refused("--h2c", f"http://127.0.0.1:{origin().port}/")
    assert "does it speak HTTP/2" in said
    assert "no TLS" in refused(f"https://127.0.0.1:{nghttpd()}/")


# --- Its own upstream for trials ---------------------------------------------------------------------------------------


def test_every_protocol_is_spoken_with_the_echo(echo, authority, tmp_path):
    trust = ("--ca", authority.certificate)
    for words, scheme, protocol in (
        ((), "http", "http/1.1"), (("--h2c",), "http", "h2c"), (trust, "https", "http/1.1"), ((*trust, "--h2"), "https", "h2"),
    ):
        result = bench("-n", "300", "-c", "4", "-t", "2", *words, f"{scheme}://localhost:{echo}/")
        assert result["statuses"] == {"200": 300} and not any(result["errors"].values())
        assert result["plan"]["protocol"] == protocol
        assert ("handshakes" in result) == (scheme == "https")
    page = tmp_path / "page.html"
    done = sluice("bench", "-n", "100", "-c", "2", "--html", page, "--h2", *trust, f"https://localhost:{echo}/")
    assert done.returncode == 0 and "HTTP/2 over TLS" in done.stdout and "handshakes" in done.stdout
    assert "h2 over TLS" in page.read_text() and "full handshakes" in page.read_text()


def test_sessions_are_resumed_for_as_long_as_it_runs(echo, authority):
    words = ("--no-keepalive", "--ca", authority.certificate, f"https://localhost:{echo}/")
    for connections in (1, 8):
        found = bench("-n", "200", "-c", str(connections), *words)["handshakes"]
        assert (found["full"], found["resumed"], found["failed"]) == (connections, 200 - connections, 0)


def test_cleartext_and_tls_are_compared_in_rounds(echo):
    done = sluice(
        "bench", "-q", "--compare", "--rounds", "2", "-d", "200ms", "-c", "2", "-k", f"http://127.0.0.1:{echo}/",
        f"https://127.0.0.1:{echo}/", timeout=60)
    assert done.returncode == 0, done.stderr
    assert "2 https://127.0.0.1" in done.stdout
