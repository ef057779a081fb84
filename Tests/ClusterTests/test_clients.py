"""The clients that people use, each through a gateway."""

import asyncio
import http.client
import json
import pathlib
import re
import shutil
import subprocess
import threading

import pytest
import requests
import websockets

from support import SLUICE, Origin, connect, free_port, ok, route, until, accepts


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "--max-time", "20", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(origin, gateway, tmp_path):
    up = origin(lambda stream, r: stream.send(ok(r.method.encode() + b" " + r.body)))
    base = f"http://127.0.0.1:{gateway(up).port}"
    assert curl(f"{base}/a") == "GET "
    assert curl("-d", "x=1", f"{base}/a") == "POST x=1"
    assert curl("-H", "Transfer-Encoding: chunked", "-d", "x=2", f"{base}/a") == "POST x=2"
    assert "200 OK" in curl("-I", f"{base}/a")
    big = tmp_path / "big"
    big.write_bytes(b"y" * 5_000_000)
    assert len(curl("-T", str(big), f"{base}/a")) == 5_000_004  # with Expect: 100-continue
    assert curl("--http1.0", f"{base}/a") == "GET "
    assert curl("-Z", *[part for n in range(20) for part in ("-o", "-", f"{base}/{n}")]) == "GET " * 20


def test_requests_with_a_session(origin, gateway):
    up = origin(lambda stream, r: stream.send(ok(json.dumps({"path": r.target, "body": r.body.decode()}).encode())))
    base = f"http://127.0.0.1:{gateway(up).port}"
    with requests.Session() as session:
        for n in range(50):
            assert session.get(f"{base}/n/{n}", timeout=10).json()["path"] == f"/n/{n}"
        assert session.post(base, data=iter([b"a", b"b", b"c"]), timeout=10).json()["body"] == "abc"
        assert session.put(base, json={"a": 1}, timeout=10).json()["body"] == '{"a": 1}'
    assert up.connections <= 3


def test_requests_streams_a_response(origin, gateway):
    def handler(stream, r):
        stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(100):
            stream.send(f"5\r\n{n:04d}\n\r\n")
        stream.send("0\r\n\r\n")

    with requests.get(f"http://127.0.0.1:{gateway(origin(handler)).port}/", stream=True, timeout=10) as response:
        assert [int(line) for line in response.iter_lines()] == list(range(100))


def test_http_client_keeps_its_connection(origin, gateway):
    up = origin(lambda stream, r: stream.send(ok(r.target.encode())))
    client = http.client.HTTPConnection("127.0.0.1", gateway(up).port, timeout=10)
    for n in range(20):
        client.request("GET", f"/{n}")
        assert client.getresponse().read() == f"/{n}".encode()
    assert up.connections == 1
    client.close()


def websocket_echo():
    """A WebSocket server on a thread of its own; (port, stop)."""
    port, ready = free_port(), threading.Event()
    loop = asyncio.new_event_loop()

    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async def serve():
        async with websockets.serve(echo, "127.0.0.1", port, max_size=None):
            ready.set()
            await stop.wait()

    stop = asyncio.Event()
    threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True).start()
    assert ready.wait(10)
    return port, lambda: loop.call_soon_threadsafe(stop.set)


def test_websockets(gateway):
    port, stop = websocket_echo()

    async def talk(url):
        async with websockets.connect(url, max_size=None) as socket:
            for message in ("hello", b"\0\1\2", "x" * 300_000, ""):
                await socket.send(message)
                assert await asyncio.wait_for(socket.recv(), 10) == message
            pong = await socket.ping()
            await asyncio.wait_for(pong, 10)

    async def crowd(url):
        await asyncio.gather(*[talk(url) for _ in range(20)])

    try:
        asyncio.run(crowd(f"ws://127.0.0.1:{gateway(f'127.0.0.1:{port}').port}/chat"))
    finally:
        stop()


@pytest.fixture
def echoes(tmp_path):
    """Two `sluice echo` processes, fast enough to be loaded."""
    ports = [free_port(), free_port()]
    started = [
        subprocess.Popen([str(SLUICE), "echo", "--address", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL) for port in ports
    ]
    for port in ports:
        until(lambda: accepts(port), "the echo listens")
    yield [f"127.0.0.1:{port}" for port in ports]
    for process in started:
        process.terminate()
        assert process.wait(10) in (0, -15)


def test_wrk(echoes, gateway):
    g = gateway(*echoes)
    output = subprocess.run(
        ["wrk", "-t1", "-c64", "-d3s", f"http://127.0.0.1:{g.port}/"], capture_output=True, text=True, check=True
    ).stdout
    assert "Non-2xx" not in output and "Socket errors" not in output, output
    assert int(re.search(r"(\d+) requests in", output)[1]) > 1000


def test_h2load_over_http_1_1(echoes, gateway):
    output = subprocess.run(
        ["h2load", "--h1", "-n20000", "-c32", "-t1", f"http://127.0.0.1:{gateway(*echoes).port}/"],
        capture_output=True, text=True, check=True,
    ).stdout
    assert "20000 succeeded, 0 failed, 0 errored, 0 timeout" in output, output


def test_bench(echoes, gateway):
    g = gateway(*echoes)
    done = subprocess.run(
        [str(SLUICE), "bench", "--connections", "16", "--requests", "5000", "--json", "-", f"http://127.0.0.1:{g.port}/"],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] == 5000


PAGE = b"""<!doctype html><title>through</title><link rel=stylesheet href=/style.css><p id=out>waiting</p>
<script>
Promise.all([fetch('/data.json').then(r => r.json()), fetch('/post', {method: 'POST', body: 'hello'}).then(r => r.text())])
  .then(([data, text]) => document.getElementById('out').textContent = 'seen ' + data.answer + ' ' + text)
</script>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
def test_a_browser_loads_a_page_with_its_parts(origin, gateway, tmp_path):
    def handler(stream, r):
        replies = {
            "/": ok(PAGE, ("Content-Type", "text/html")),
            "/style.css": ok(b"p { color: green }", ("Content-Type", "text/css")),
            "/data.json": ok(b'{"answer": 42}', ("Content-Type", "application/json")),
            "/post": ok(b"got " + r.body),
        }
        stream.send(replies.get(r.target) or ok(status="404 Not Found"))

    up = origin(handler)
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/profile",
         "--virtual-time-budget=5000", "--dump-dom", f"http://127.0.0.1:{gateway(up).port}/"],
        capture_output=True, text=True, timeout=60,
    )
    assert "seen 42 got hello" in done.stdout, done.stdout + done.stderr[-2000:]
    assert {"/", "/style.css", "/data.json", "/post"} <= {r.target for r in up.requests}
