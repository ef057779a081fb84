"""`sluice echo` over TLS, HTTP/2, gRPC and WebSocket, with clients of other makers."""

import json
import signal
import ssl
import subprocess
import threading
import time

import grpc
import httpx
import pytest
import websockets
from websockets.sync.client import connect as dial

from http2 import Client
from support import SLUICE, accepts, connect, free_port, sluice, until
from test_http2 import curl, masked, opening
from test_upstream_tls import authority  # noqa: F401


class Echo:
    def __init__(self, *options):
        self.port = free_port()
        self.process = subprocess.Popen(
            [str(SLUICE), "echo", "-a", f"127.0.0.1:{self.port}", *map(str, options)], stdout=subprocess.DEVNULL)
        until(lambda: accepts(self.port), "the echo listens")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture
def echo(authority):
    """A `sluice echo` that speaks TLS too."""
    certificate, key = authority.issue("echo", "DNS:localhost")
    made = Echo("--tls-cert", certificate, "--tls-key", key)
    made.trust = ssl.create_default_context(cafile=str(authority.certificate))
    made.authority = authority.certificate.read_bytes()
    yield made
    assert made.stop() == 0


# --- HTTP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_httpx_over_tls(echo, version):
    with httpx.Client(verify=echo.trust, http1=version == "1.1", http2=version == "2") as client:
        answer = client.post(f"https://localhost:{echo.port}/a?b=c", content=b"x" * 100_000, headers={"X-A": "1"})
        assert answer.status_code == 200 and answer.http_version == f"HTTP/{version}"
        said = answer.json()
        assert said["version"] == version and said["method"] == "POST" and said["target"] == "/a?b=c"
        assert said["bodyBytes"] == 100_000 and said["fields"]["x-a"] == "1"
        assert said["tls"] == {"version": "1.3", "resumed": False, "serverName": "localhost"}
        body = bytes(range(256)) * 4_000
        assert client.post(f"https://localhost:{echo.port}/echo", content=body).content == body
        assert client.get(f"https://localhost:{echo.port}/status/404").status_code == 404


def test_one_port_takes_cleartext_too(echo):
    url = f"http://127.0.0.1:{echo.port}/"
    assert json.loads(curl("--http1.1", url))["version"] == "1.1"
    assert json.loads(curl("--http2", url))["version"] == "1.1", "not by an Upgrade"
    said = json.loads(curl("--http2-prior-knowledge", url))
    assert said["version"] == "2" and "tls" not in said


def test_tls_12_is_spoken_and_nothing_older(echo):
    for most, expected in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        echo.trust.maximum_version = most
        with echo.trust.wrap_socket(connect(echo.port).socket, server_hostname="localhost") as secured:
            assert secured.version() == expected
            secured.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            received = b""
            while part := secured.recv(65_536):
                received += part
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")


def test_streams_are_answered_as_they_can_be(echo):
    with Client(echo.port) as client:
        slow = client.begin("/delay/600")
        events = client.begin("/events/50")
        quick = [client.ask("/status/201") for _ in range(20)]
        assert {reply.status for reply in quick} == {201} and not client.replies[slow].ended
        client.until(lambda: client.replies[events].body.count(b"tick") >= 3, "events come")
        client.connection.reset_stream(events)
        assert client.finish(slow).status == 200
        assert client.finish(client.begin("/close")).reset is not None, "a body that is cut short is no whole one"
        assert client.settings[3] == 256


def test_a_body_larger_than_all_windows_waits_for_its_reader(echo):
    with Client(echo.port, reads=False) as client:
        stream = client.begin("/bytes/3000000")
        client.until(lambda: len(client.replies[stream].body) == 65_535, "the window is used up")
        assert client.ask("/status/204").status == 204, "others go on"
        client.reads = True
        client.connection.increment_flow_control_window(1 << 22)
        client.connection.increment_flow_control_window(1 << 22, stream)
        client.flush()
        client.until(lambda: client.replies[stream].ended, "the rest comes")
        assert len(client.replies[stream].body) == 3_000_000


def test_h2load_is_content(echo):
    for scheme in ("http", "https"):
        said = subprocess.run(
            ["h2load", "-n", "3000", "-c", "4", "-m", "50", f"{scheme}://127.0.0.1:{echo.port}/"], capture_output=True,
            text=True, timeout=60).stdout
        assert "3000 succeeded, 0 failed, 0 errored" in said


def test_the_end_waits_for_what_is_under_way(echo):
    with Client(echo.port) as client:
        assert client.ask("/status/200").status == 200
        stream = client.begin("/delay/500")
        time.sleep(0.1)
        echo.process.send_signal(signal.SIGTERM)
        assert client.finish(stream).status == 200
        while client.pump():
            pass
        assert client.leaving, "it said that it leaves"
    assert echo.process.wait(10) == 0


# --- gRPC --------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["cleartext", "tls"])
def channel(request, echo):
    if request.param == "tls":
        made = grpc.secure_channel(f"localhost:{echo.port}", grpc.ssl_channel_credentials(echo.authority))
    else:
        made = grpc.insecure_channel(f"127.0.0.1:{echo.port}")
    yield made
    made.close()


def test_grpc_calls_of_all_kinds(channel):
    large = bytes(range(256)) * 8_000
    for message in (b"", b"hello", large):
        assert channel.unary_unary("/any.Service/Method")(message, timeout=10) == message
        assert list(channel.unary_stream("/any.Service/Method")(message, timeout=10)) == [message]
    messages = [b"one", b"", b"three" * 10_000]
    assert list(channel.stream_stream("/any.Service/Method")(iter(messages), timeout=10)) == messages
    assert channel.stream_unary("/any.Service/Collect")(iter(messages), timeout=10) == b"".join(messages)
    assert channel.stream_unary("/any.Service/Collect")(iter([]), timeout=10) == b""
    _, call = channel.unary_unary("/any.Service/Method").with_call(b"x", timeout=10)
    assert call.code() == grpc.StatusCode.OK


def test_grpc_messages_come_back_one_by_one(channel):
    turn = threading.Semaphore(0)

    def messages():
        for number in range(5):
            assert turn.acquire(timeout=10)
            yield b"%d" % number

    answers = channel.stream_stream("/any.Service/Both")(messages(), timeout=20)
    for number in range(5):
        # The next message is not sent before this one has come back.
        turn.release()
        assert next(answers) == b"%d" % number
    with pytest.raises(StopIteration):
        next(answers)


def test_grpc_compression_is_the_clients(echo):
    with grpc.insecure_channel(f"127.0.0.1:{echo.port}", compression=grpc.Compression.Gzip) as channel:
        message = b"z" * 100_000
        assert channel.unary_unary("/any.Service/Method")(message, timeout=10) == message
        with pytest.raises(grpc.RpcError) as error:
            channel.stream_unary("/any.Service/Collect")(iter([message]), timeout=10)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_grpc_calls_that_go_wrong(echo):
    fields = (("content-type", "application/grpc+proto"), ("te", "trailers"))
    with Client(echo.port) as client:
        cut = client.ask("/any.Service/Method", "POST", *fields, body=b"\0\0\0\0\5hell")
        assert cut.status == 200 and cut.trailers["grpc-status"] == "13" and cut.fields["content-type"].endswith("+proto")
        large = client.ask("/any.Service/Collect", "POST", *fields, body=b"\0\0\x50\0\0" + bytes(0x500000))
        assert large.trailers["grpc-status"] == "8" and large.body == b""
        cancelled = client.begin("/any.Service/Method", "POST", *fields, ends=False)
        client.send(cancelled, b"\0\0\0\0\1x")
        client.until(lambda: client.replies[cancelled].body == b"\0\0\0\0\1x", "it comes back at once")
        client.connection.reset_stream(cancelled, 8)
        good = client.ask("/any.Service/Method", "POST", *fields, body=b"\0\0\0\0\1x")
        assert good.trailers == {"grpc-status": "0"} and good.body == b"\0\0\0\0\1x"


def test_a_call_without_http2_is_an_ordinary_request(echo):
    answer = httpx.post(
        f"http://127.0.0.1:{echo.port}/any.Service/Method", content=b"\0\0\0\0\1x",
        headers={"Content-Type": "application/grpc"})
    assert answer.json()["bodyBytes"] == 6


# --- WebSocket ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websocket_messages_pings_and_close(echo, scheme):
    context = {"ssl": echo.trust} if scheme == "wss" else {}
    with dial(f"{scheme}://localhost:{echo.port}/any", max_size=None, compression=None, **context) as socket:
        for message in ("", "hello ünïcode", b"\0" * 125, b"x" * 126, b"y" * 65_536, b"z" * 3_000_000):
            socket.send(message)
            assert socket.recv(10) == message
        socket.send(["in ", "three ", "parts"])
        assert socket.recv(10) == "in three parts"
        assert socket.ping(b"payload").wait(10), "the pong has the ping's payload"
        socket.pong(b"nobody asked")
        socket.send("on")
        assert socket.recv(10) == "on"
        socket.close(4321, "enough")
        assert (socket.close_code, socket.close_reason) == (4321, "enough")
        assert socket.protocol.close_rcvd_then_sent is False


def test_a_broken_frame_ends_the_websocket(echo):
    # A continuation of nothing, a kind that there is not, a ping in parts, and a status that is never sent.
    for first, payload in ((0x80, b"x"), (0x83, b"x"), (0x09, b"x"), (0x88, b"\x03\xed")):
        with dial(f"ws://127.0.0.1:{echo.port}/", compression=None) as socket:
            socket.socket.sendall(bytes([first, 0x80 | len(payload)]) + b"\0\0\0\0" + payload)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                socket.recv(10)
            assert closed.value.rcvd.code == 1002


def test_websocket_over_http2(echo):
    with Client(echo.port) as client:
        client.until(lambda: client.settings.get(8) == 1, "extended CONNECT is offered (RFC 8441)")
        streams = [opening(client) for _ in range(3)]
        for stream in streams:
            client.until(lambda: client.replies[stream].fields, "it is agreed to")
            assert client.replies[stream].status == 200
            client.send(stream, masked(1, b"hello") + masked(9, b"?"))
        for stream in streams:
            client.until(lambda: client.replies[stream].body == b"\x81\x05hello\x8a\x01?", "both come back")
        client.send(streams[0], masked(8, b"\x03\xe8"))
        reply = client.finish(streams[0])
        assert reply.body.endswith(b"\x88\x02\x03\xe8") and reply.ended
        client.send(streams[1], masked(0, b"of nothing"))
        assert client.finish(streams[1]).body.endswith(b"\x88\x02\x03\xea")
        client.send(streams[2], masked(2, b"still"))
        client.until(lambda: client.replies[streams[2]].body.endswith(b"\x82\x05still"), "the third goes on")


# --- What it is told ---------------------------------------------------------------------------------------------------


def test_a_certificate_needs_its_own_key(tmp_path, authority):
    one, other = authority.issue("one", "DNS:a"), authority.issue("other", "DNS:b")
    for words, said in (
        (("--tls-cert", one[0]), "--tls-key"), (("--tls-key", one[1]), "--tls-cert"),
        (("--tls-cert", one[0], "--tls-key", other[1]), "does not belong"),
        (("--tls-cert", one[1], "--tls-key", one[1]), "no certificate"),
        (("--tls-cert", tmp_path / "none", "--tls-key", one[1]), "none"),
    ):
        done = sluice("echo", "-a", "127.0.0.1:0", *words)
        assert done.returncode == 2 and said in done.stderr, done.stderr
