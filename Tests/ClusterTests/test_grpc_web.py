"""Calls of gRPC-Web, from clients of HTTP/1.1 and HTTP/2 and from a page in a browser, to a service of grpcio."""

import base64
import json
import shutil
import struct
import subprocess

import grpc
import httpx
import pytest

from support import connect, free_port, ok, route, until
from test_grpc import failure, service, upstream  # noqa: F401
from test_http2 import node, sample  # noqa: F401
from test_http2_upstream import origin2  # noqa: F401
from test_policies import KEY, consumer

WEB = {"type": "grpc-web"}
BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text"


def message(data):
    return struct.pack(">BI", 0, len(data)) + data


def opened(body, is_text=False):
    """The messages of a response, and its trailers: None where they did not come."""
    if is_text:
        assert len(body) % 4 == 0
        body = b"".join(base64.b64decode(body[n : n + 4], validate=True) for n in range(0, len(body), 4))
    messages, trailers = [], None
    while body:
        flag, length = struct.unpack(">BI", body[:5])
        assert len(body) >= 5 + length and trailers is None, "trailers are the last message, and all are whole"
        data, body = body[5 : 5 + length], body[5 + length :]
        if flag == 0x80:
            trailers = dict(line.split(": ", 1) for line in data.decode().split("\r\n") if line)
        else:
            messages.append(data)
    return messages, trailers


class Page:
    """What calls as a page would."""

    def __init__(self, g, version, type=BINARY):
        self.type = type
        self.is_text = "text" in type
        self.client = httpx.Client(
            http1=version == 1, http2=version == 2, base_url=f"http://127.0.0.1:{g.port}", timeout=20)

    def body(self, *messages):
        body = b"".join(message(each) for each in messages)
        return base64.b64encode(body) if self.is_text else body

    def call(self, method, data=b"", headers=(), body=None):
        reply = self.client.post(
            f"/chat.Chat/{method}", content=self.body(data) if body is None else body,
            headers={"content-type": self.type, "x-grpc-web": "1", **dict(headers)})
        assert reply.status_code == 200, reply.text
        name, format = ("application/grpc-web-text" if self.is_text else "application/grpc-web"), "+proto"
        assert reply.headers["content-type"] == name + format
        return reply, *opened(reply.content, self.is_text)


@pytest.fixture(params=[(1, BINARY), (2, BINARY), (1, TEXT), (2, TEXT)], ids=lambda p: f"HTTP/{p[0]}-{p[1][12:]}")
def page(request, node, service):
    """page(**options) is one that calls by way of a node; the node is its second part."""

    def start(policies=(), **options):
        g = node(
            upstream(service), upstream={"protocol": "h2", **options.pop("upstream", {})},
            routes=[route("chat", "/chat.Chat/*", policies=[WEB, *policies])], **options)
        return Page(g, *request.param), g

    return start


def test_unary_calls_pass_with_their_metadata(page, service):
    p, g = page()
    for n in range(3):
        reply, messages, trailers = p.call("Unary", b"hello %d" % n, {"x-mine": "a"})
        assert messages == [(b"hello %d" % n)[::-1]] and trailers["grpc-status"] == "0"
        assert reply.headers["x-first"] == "1" and trailers["x-last"] == "2" and trailers["x-bytes-bin"].rstrip("=") == "AP8"
    seen = service.seen[0]
    assert seen["x-mine"] == "a" and seen["x-forwarded-for"] == "127.0.0.1"
    assert sample(g, "sluice_upstream_connections_opened") == 1


def test_large_messages_pass_both_ways(page, service):
    p, _ = page()
    data = bytes(range(256)) * 12_000
    _, messages, trailers = p.call("Unary", data)
    assert messages == [data[::-1]] and trailers["grpc-status"] == "0"


def test_streams_come_as_they_come(page, service):
    p, _ = page()
    _, messages, trailers = p.call("Down", b"1000")
    assert messages == [b"%d" % n for n in range(1000)] and trailers["grpc-status"] == "0"
    got = b""
    with p.client.stream(
        "POST", "/chat.Chat/Ticks", content=p.body(b""), headers={"content-type": p.type}
    ) as reply:
        for part in reply.iter_raw():
            got += part
            if not service.go.is_set():
                assert opened(got, p.is_text) == ([b"one"], None), "the first is there before the second is sent"
                service.go.set()
    messages, trailers = opened(got, p.is_text)
    assert messages == [b"one", b"two"] and trailers["grpc-status"] == "0"


def test_a_status_of_the_service_passes(page):
    """One without messages is in the head, as gRPC itself has it: `exposedHeaders` of the policy `cors` lets pages see it."""
    p, _ = page()
    reply, messages, trailers = p.call("Fails")
    status = trailers or reply.headers
    assert messages == [] and status["grpc-status"] == "9" and status["grpc-message"] == "not now: 100 %25"
    reply, _, trailers = p.call("Unknown")
    assert (trailers or reply.headers)["grpc-status"] == "12"


def test_refusals_are_calls_that_failed(page):
    limit = {"type": "rate-limit", "limits": [{"per": "consumer", "window": "1/1h"}]}
    p, g = page([KEY, limit], consumers=[consumer("one", "alpha")])
    reply, messages, trailers = p.call("Unary")
    assert messages == [] and trailers["grpc-status"] == "16" and "grpc-status" not in reply.headers
    assert trailers["grpc-message"].startswith("api-key-missing: ")
    assert p.call("Unary", b"x", {"x-api-key": "alpha"})[1] == [b"x"]
    _, _, trailers = p.call("Unary", b"x", {"x-api-key": "alpha"})
    assert trailers["grpc-status"] == "14" and trailers["grpc-message"].startswith("rate-limited: ")
    until(lambda: [line.get("refusal") for line in g.log()][-1:] == ["rate-limited"], "the refusal is logged")


def test_a_deadline_is_not_held_against_the_service(page, service):
    """At the same moment the service gives up, and its word may come first."""
    p, g = page(upstream={"ejection": {"consecutiveFailures": 2}})
    for _ in range(3):
        reply, messages, trailers = p.call("Slow", headers={"grpc-timeout": "150m"})
        assert messages == [] and (trailers or reply.headers)["grpc-status"] == "4"
    assert service.cancelled.wait(5), "the service hears of it"
    assert p.call("Unary", b"ab")[1] == [b"ba"]
    assert sample(g, "sluice_upstream_failures") == sample(g, "sluice_upstream_ejections") == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_deadline_is_the_gateways_too(node, origin2, version):
    silent = origin2(lambda c, stream, fields, body: None)
    p = Page(node(f"127.0.0.1:{silent.port}", upstream={"protocol": "h2"}, routes=[route(policies=[WEB])]), version)
    _, messages, trailers = p.call("Slow", headers={"grpc-timeout": "150m"})
    assert messages == [] and trailers["grpc-status"] == "4"
    assert trailers["grpc-message"].startswith("upstream-timeout: ")


@pytest.mark.parametrize("text", [b"AAAA*", b"AAAAA", b"AAA=A", b"AB==", b"A", b"====", b"AAAA AAA"])
@pytest.mark.parametrize("version", [1, 2])
def test_what_is_not_base64_is_refused(node, service, version, text):
    g = node(upstream(service), upstream={"protocol": "h2"}, routes=[route(policies=[WEB])])
    _, messages, trailers = Page(g, version, TEXT).call("Unary", body=text)
    assert messages == [] and trailers["grpc-status"] == "13"
    assert trailers["grpc-message"].startswith("malformed-encoding: ") and service.seen == []


def test_a_text_is_bounded_like_any_body(node, service):
    g = node(
        upstream(service), upstream={"protocol": "h2"}, routes=[{**route(policies=[WEB]), "limits": {"body": "1KiB"}}])
    chunks = (base64.b64encode(message(bytes(2_998))) for _ in range(1))
    _, messages, trailers = Page(g, 1, TEXT).call("Unary", body=chunks)
    assert messages == [] and trailers["grpc-message"].startswith("body-too-large: ")


def test_a_text_may_come_byte_by_byte_and_padded_anywhere(node, service):
    g = node(upstream(service), upstream={"protocol": "h2"}, routes=[route(policies=[WEB])])
    text = b"".join(base64.b64encode(part) for part in (b"\0\0\0\0\x05", b"h", b"el", b"lo"))
    with connect(g.port) as c:
        c.send(
            "POST /chat.Chat/Unary HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc-web-text\r\n"
            f"Accept: application/grpc-web\r\nContent-Length: {len(text)}\r\n\r\n")
        for n in range(len(text)):
            c.send(text[n : n + 1])
        reply = c.response()
        assert reply.get("content-type") == "application/grpc-web+proto"
        assert opened(reply.body)[0] == [b"olleh"]
        c.send("POST /chat.Chat/Unary HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc-web\r\nContent-Length: 6\r\n\r\n")
        c.send(message(b"x"))
        assert opened(c.response().body)[0] == [b"x"], "the connection goes on"


def test_an_empty_body_is_passed_on(node, service):
    g = node(upstream(service), upstream={"protocol": "h2"}, routes=[route(policies=[WEB])])
    reply, messages, trailers = Page(g, 1, TEXT).call("Unary", body=b"")
    assert messages == [] and (trailers or reply.headers)["grpc-status"] != "0"


def test_a_service_that_is_away_is_unavailable(node):
    g = node(f"127.0.0.1:{free_port()}", upstream={"protocol": "h2"}, routes=[route(policies=[WEB])])
    assert Page(g, 1).call("Unary")[2]["grpc-status"] == "14"


def test_calls_of_grpc_itself_pass_beside_them(node, service):
    g = node(upstream(service), upstream={"protocol": "h2"}, routes=[route(policies=[WEB])])
    with grpc.insecure_channel(f"127.0.0.1:{g.port}") as c:
        assert c.unary_unary("/chat.Chat/Unary")(b"ab", timeout=10) == b"ba"
        assert failure(c.unary_unary("/chat.Chat/Fails"), b"")[1] == "not now: 100 %"


PAGE = """<!doctype html><p id=out>waiting</p><script>
const call = async (method, data) => {
  const body = btoa(String.fromCharCode(0, 0, 0, 0, data.length) + data)
  const headers = {'content-type': 'application/grpc-web-text', 'x-grpc-web': '1', 'grpc-timeout': '9S'}
  const reply = await fetch('http://127.0.0.1:PORT/chat.Chat/' + method, {method: 'POST', headers, body})
  const text = (await reply.text()).match(/.{4}/g)?.map(atob).join('') ?? ''
  return [reply.headers.get('grpc-status'), text]
}
Promise.all([call('Unary', 'hello'), call('Fails', ''), call('Unary', 'x'.repeat(40)), call('Unary', 'x')]).then(
  all => document.getElementById('out').textContent = 'seen ' + JSON.stringify(all), e => document.getElementById('out').textContent = e)
</script>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
def test_a_page_of_another_origin_calls(origin, node, service, tmp_path):
    site = origin(lambda stream, r: stream.send(
        ok(PAGE.replace("PORT", str(g.port)).encode(), ("Content-Type", "text/html"))))
    cors = {
        "type": "cors", "origins": [f"http://127.0.0.1:{site.port}"], "methods": ["POST"],
        "headers": ["Content-Type", "X-Grpc-Web", "Grpc-Timeout"], "exposedHeaders": ["Grpc-Status", "Grpc-Message"]}
    g = node(upstream(service), upstream={"protocol": "h2"}, routes=[route(policies=[WEB, cors])])
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=8000", "--dump-dom", f"http://127.0.0.1:{site.port}/"],
        capture_output=True, text=True, timeout=60)
    assert 'id="out">seen ' in done.stdout, done.stdout + done.stderr[-2000:]
    first, failed, *_ = json.loads(done.stdout.split("seen ")[1].split("</p>")[0])
    assert first[0] is None and "olleh" in first[1] and "grpc-status: 0" in first[1]
    assert failed == ["9", ""], "its head says so, and the page may read that"
    assert len(service.seen) == 3
