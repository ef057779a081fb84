"""WebSocket through a node, with a client of its own and `sluice echo` behind it: limits, origins, and who has to go."""

import asyncio
import hashlib
import json
import signal
import time

import pytest
import websockets

from nodes import SECRET
from support import Gateway, ask, configuration, connect, route, sluice, until

KEY = "a key of the file"


def limited(**options):
    return route(policies=[{"type": "websocket", **options}])


def open_to(node, **options):
    return websockets.connect(f"ws://127.0.0.1:{node.port}/chat", max_size=None, **options)


async def says(socket, message="hello"):
    await socket.send(message)
    assert await asyncio.wait_for(socket.recv(), 10) == message


async def close_code(socket, within=10):
    """The code with which the other side closes."""
    with pytest.raises(websockets.ConnectionClosed):
        while True:
            await asyncio.wait_for(socket.recv(), within)
    return socket.close_code


def test_a_message_that_is_too_long_ends_the_connection_and_no_other(gateway, chat):
    g = gateway(chat, routes=[limited(maxMessage="64KiB")])

    async def talk():
        async with open_to(g) as good, open_to(g) as bad, open_to(g) as parts:
            await says(bad, "x" * 65_536)
            await bad.send("x" * 65_537)
            assert await close_code(bad) == 1009
            await parts.send(["x" * 40_000, "y" * 40_000])
            assert await close_code(parts) == 1009
            await says(good, b"\0" * 65_536)

    asyncio.run(talk())
    until(lambda: shed(g, "message_too_big") == 2, "both are counted")


def shed(node, reason):
    return sum(s.value for s in node.metrics()["sluice_connections_shed"].samples if s.labels.get("reason") == reason)


def test_bytes_that_are_no_frames_end_the_connection(gateway, chat):
    g = gateway(chat)
    with connect(g.port) as stream:
        stream.send(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert stream.response().status == 101
        stream.send(b"\x81\x05hello")
        assert stream.exactly(100) == b"\x88\x02\x03\xea"


def test_pages_of_other_origins_are_refused(gateway, chat):
    g = gateway(chat, routes=[limited(origins=["https://app.example.com", "https://*.example.org"])])

    async def talk():
        for origin in ("https://app.example.com", "https://a.example.org", None):
            async with open_to(g, origin=origin) as socket:
                await says(socket)
        for origin in ("https://evil.example.com", "null", "http://app.example.com"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await open_to(g, origin=origin)
            assert refused.value.response.status_code == 403 and b"origin-denied" in refused.value.response.body

    asyncio.run(talk())
    # Who asks for no WebSocket is not concerned.
    assert ask(g.port, path="/", headers=[("Origin", "https://evil.example.com")]).status == 200


def test_silence_ends_a_connection_and_pings_are_no_silence(gateway, chat):
    g = gateway(chat, routes=[limited(idleTimeout="1s")])

    async def talk():
        async with open_to(g, ping_interval=0.3) as lively, open_to(g, ping_interval=None) as silent:
            began = time.monotonic()
            assert await close_code(silent) == 1001
            assert 0.9 < time.monotonic() - began < 4
            await says(lively)

    asyncio.run(talk())


def test_a_node_that_drains_tells_everybody_to_go(gateway, chat):
    g = gateway(chat, node={"drainSeconds": 4})

    async def talk():
        sockets = [await open_to(g) for _ in range(40)]
        for socket in sockets:
            await says(socket)
        began = time.monotonic()
        g.process.send_signal(signal.SIGTERM)

        async def over(socket):
            assert await close_code(socket) == 1001
            return time.monotonic() - began

        times = sorted(await asyncio.gather(*[over(socket) for socket in sockets]))
        # By and by, not all at once, and before the drain's end.
        assert times[-1] < 3.8 and times[-1] - times[0] > 0.5

    asyncio.run(talk())
    assert g.process.wait(10) == 0


def test_open_connections_count_against_a_concurrency_limit(gateway, chat):
    limit = {"type": "rate-limit", "limits": [{"per": "ip", "concurrency": 2}]}
    g = gateway(chat, routes=[route(policies=[limit])])

    async def talk():
        first, second = await open_to(g), await open_to(g)
        with pytest.raises(websockets.InvalidStatus) as refused:
            await open_to(g)
        assert refused.value.response.status_code == 429
        await first.close()

        async def third():
            for _ in range(100):
                try:
                    return await open_to(g)
                except websockets.InvalidStatus:
                    await asyncio.sleep(0.05)

        await says(await third())
        await says(second)

    asyncio.run(talk())


def test_revocation_ends_the_connections_of_a_key_and_no_others(tmp_path, redis, chat):
    keyed = {"type": "api-key"}
    other = {"id": "k2", "sha256": hashlib.sha256(b"another key").hexdigest()}
    with Gateway(tmp_path, configuration(
        chat, routes=[route(policies=[keyed])], store=redis().url, cluster={"name": "test", "secret": SECRET},
        consumers=[{"id": "app", "keys": [{"id": "k1", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}, other]}],
    )).start() as g:

        def key(text):
            return {"additional_headers": {"X-API-Key": text}}

        made = json.loads(ask(
            g.admin, "POST", "/v1/keys?wait=3s", headers=[("Content-Type", "application/json")],
            body=json.dumps({"consumer": "app"}).encode()).body)

        async def talk():
            revoked, issued, kept = [await open_to(g, **key(text)) for text in (KEY, made["key"], "another key")]
            for socket in (revoked, issued, kept):
                await says(socket)
            began = time.monotonic()
            done = sluice("revoke", "--key", "app/k1", "--admin", f"127.0.0.1:{g.admin}")
            assert done.returncode == 0, done.stderr
            assert await close_code(revoked) == 1008 and time.monotonic() - began < 3
            with pytest.raises(websockets.InvalidStatus):
                await open_to(g, **key(KEY))
            answer = ask(
                g.admin, "PATCH", f"/v1/keys/{made['id']}", headers=[("Content-Type", "application/json")],
                body=b'{"state":"disabled"}')
            assert answer.status == 200, answer.body
            assert await close_code(issued) == 1008
            await says(kept)
            await kept.close()

        asyncio.run(talk())
        until(lambda: shed(g, "revoked") == 2, "both are counted")
