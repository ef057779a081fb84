"""A browser, driven: a page over TLS and HTTP/2 with its parts, a form, a stream of events and a WebSocket."""

import base64
import hashlib
import shutil

import pytest

from certificates import Authority, openssl
from support import configuration, free_port, ok, until

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")

PAGE = b"""<!doctype html><title>secured</title><link rel=stylesheet href=/style.css>
<p id=data></p><p id=post></p><p id=events></p><p id=socket></p>
<script>
const show = (id, text) => document.getElementById(id).textContent = text
fetch('/data.json').then(reply => reply.json()).then(data => show('data', data.answer))
fetch('/post', {method: 'POST', body: 'x'.repeat(300000)}).then(reply => reply.text()).then(text => show('post', text))
let seen = ''
const events = new EventSource('/events')
events.onmessage = event => { seen += event.data; show('events', seen); if (seen.length == 3) events.close() }
const socket = new WebSocket('wss://localhost:' + location.port + '/chat')
socket.onopen = () => { socket.send('over TLS'); socket.send('y'.repeat(70000)) }
const said = []
socket.onmessage = event => { said.push(event.data); if (said.length == 2) { show('socket', said[0] + ' ' + said[1].length); socket.close() } }
</script>"""


@pytest.fixture
def browser(tmp_path):
    """browser(certificate) is a context of a browser that trusts the key of this certificate and no other of ours."""
    from playwright.sync_api import sync_playwright

    started = []
    with sync_playwright() as playwright:

        def start(certificate):
            key = openssl(tmp_path, "x509", "-in", certificate, "-noout", "-pubkey")
            der = openssl(tmp_path, "pkey", "-pubin", "-outform", "der", text=key)
            pin = base64.b64encode(hashlib.sha256(der).digest()).decode()
            started.append(playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--ignore-certificate-errors-spki-list={pin}"]))
            return started[-1].new_context()

        yield start
        for each in started:
            each.close()


def answer(stream, request):
    if request.target == "/events":
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for letter in b"abc":
            event = b"data: %c\n\n" % letter
            stream.send(b"%x\r\n%s\r\n" % (len(event), event))
        return stream.send(b"0\r\n\r\n")
    replies = {
        "/": ok(PAGE, ("Content-Type", "text/html")),
        "/style.css": ok(b"p { color: green }", ("Content-Type", "text/css")),
        "/data.json": ok(b'{"answer": 42}', ("Content-Type", "application/json")),
        "/post": ok(b"%d bytes" % len(request.body)),
    }
    stream.send(replies.get(request.target) or ok(status="404 Not Found"))


@pytest.mark.parametrize("speaks", [True, False])
def test_a_page_over_tls_with_everything_on_it(origin, gateway, chat, browser, tmp_path, speaks):
    issued = Authority(tmp_path).issue("site", "DNS:localhost")
    up, plain, secure = origin(answer), free_port(), free_port()
    content = configuration(up)
    content["upstreams"]["chat"] = {"endpoints": [chat]}
    content["routes"].insert(0, {"id": "chat", "match": {"path": "/chat"}, "upstream": "chat"})
    content["listeners"] = [{"address": f"127.0.0.1:{plain}"}, {"address": f"127.0.0.1:{secure}", "tls": {
        "http2": speaks, "earlyData": True, "certificates": [{"certificate": str(issued[0]), "key": str(issued[1])}]}}]
    g = gateway(content=content, process={"port": plain})
    page = browser(issued[0]).new_page()
    faults = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    for _ in range(2):
        page.goto(f"https://localhost:{secure}/", timeout=30_000)
        for element, text in {
            "data": "42", "post": "300000 bytes", "events": "abc", "socket": "over TLS 70000",
        }.items():
            page.wait_for_function(
                "([id, text]) => document.getElementById(id).textContent === text", arg=[element, text], timeout=30_000)
        protocols = page.evaluate(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".map(entry => entry.nextHopProtocol)")
        assert set(protocols) == {"h2" if speaks else "http/1.1"}
    assert not faults
    lines = until(lambda: [line for line in g.log() if line.get("route") == "chat"], "the WebSocket is in the log")
    # Over HTTP/2 it is one more stream (RFC 8441); else a connection of its own.
    assert lines[0]["protocol"] == ("HTTP/2" if speaks else "HTTP/1.1") and lines[0]["tls"] == "1.3"


def test_a_browser_refuses_a_certificate_that_it_does_not_trust(origin, gateway, browser, tmp_path):
    from playwright.sync_api import Error

    authority = Authority(tmp_path)
    issued, other = authority.issue("site", "DNS:localhost"), authority.issue("other", "DNS:localhost")
    up, plain, secure = origin(answer), free_port(), free_port()
    g = gateway(up, listeners=[{"address": f"127.0.0.1:{plain}"}, {"address": f"127.0.0.1:{secure}", "tls": {
        "certificates": [{"certificate": str(issued[0]), "key": str(issued[1])}]}}], process={"port": plain})
    page = browser(other[0]).new_page()
    with pytest.raises(Error, match="ERR_CERT"):
        page.goto(f"https://localhost:{secure}/", timeout=30_000)
    assert not up.requests
    metric = g.metrics()["sluice_tls_handshake_failures"]
    until(lambda: sum(s.value for s in g.metrics()["sluice_tls_handshake_failures"].samples) >= 1, f"counted: {metric}")
