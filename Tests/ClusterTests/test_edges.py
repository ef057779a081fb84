"""Corners of connections, reloads and routing where gateways are known to slip."""

import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from support import SLUICE, Gateway, Stream, accepts, ask, configuration, connect, free_port, ok, route, until

REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_client_that_ends_its_side_still_gets_its_answer(origin, gateway):
    def handler(stream, r):
        time.sleep(0.3)
        stream.send(ok(b"late"))

    with connect(gateway(origin(handler)).port) as stream:
        stream.send(REQUEST)
        stream.socket.shutdown(socket.SHUT_WR)
        assert stream.response().body == b"late"
        assert stream.is_closed()


def test_a_post_is_not_sent_on_a_connection_that_the_upstream_has_closed(origin, gateway):
    def handler(stream, r):
        stream.send(ok(r.body))
        return False  # closes, and has not said so

    up = origin(handler)
    g = gateway(up, upstream={"retries": {"attempts": 0}})
    for number in range(50):
        assert ask(g.port, "POST", body=b"%d" % number).body == b"%d" % number
        until(lambda: not up.streams, "the upstream has closed")
        time.sleep(0.005)  # its FIN reaches the gateway


def test_many_tiny_chunks_pass_both_ways(origin, gateway):
    count = 20_000
    up = origin(lambda stream, r: stream.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\ny\r\n" * count + b"0\r\n\r\n"))
    with connect(gateway(up).port) as stream:
        body = b"1\r\nx\r\n" * count + b"0\r\n\r\n"
        stream.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        response = stream.response()
    assert response.body == b"y" * count and response.complete
    assert up.requests[0].body == b"x" * count


def test_several_informational_responses_pass(origin, gateway):
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    with connect(gateway(origin(lambda stream, r: stream.send(interim * 3 + ok(b"end")))).port) as stream:
        stream.send(REQUEST)
        assert [stream.response(informational=True).status for _ in range(4)] == [103, 103, 103, 200]


def test_an_http_1_0_client_gets_no_informational_response(origin, gateway):
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    with connect(gateway(origin(lambda stream, r: stream.send(interim + ok(b"end")))).port) as stream:
        stream.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert stream.response(informational=True).status == 200


def test_a_304_with_a_length_has_no_body(origin, gateway):
    up = origin(lambda stream, r: stream.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n"))
    with connect(gateway(up).port) as stream:
        for _ in range(3):
            stream.send(REQUEST)
            assert stream.response().status == 304


def test_options_asterisk(origin, gateway):
    up = origin()
    assert ask(gateway(up).port, "OPTIONS", "*").status in (200, 404)
    assert all(r.target in ("*",) for r in up.requests)


def test_an_unknown_expectation_is_417(origin, gateway):
    up = origin()
    assert ask(gateway(up).port, "POST", headers=[("Expect", "200-maybe")], body=b"x").status == 417
    assert up.requests == []


def test_a_tunnel_does_not_outlive_the_drain(origin, gateway):
    def handler(stream, r):
        stream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        stream.rest()
        return False

    g = gateway(origin(handler), node={"drainSeconds": 1})
    with connect(g.port) as stream:
        stream.send("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        assert stream.response().status == 101
        began = time.monotonic()
        g.signal(signal.SIGTERM)
        g.process.wait(10)
        assert time.monotonic() - began < 4
        assert stream.is_closed()


def test_a_storm_of_reloads_is_survived(origin, gateway):
    up = origin()
    g = gateway(up)
    for _ in range(200):
        g.signal(signal.SIGHUP)
    until(lambda: ask(g.port).status == 200, "it serves")
    g.reload(configuration(up, routes=[route(path="/only")]))
    until(lambda: ask(g.port, path="/other").status == 404, "the last file is in force")


def test_standard_output_that_nobody_reads_is_not_fatal(origin, tmp_path):
    g = Gateway(tmp_path, configuration(origin()))
    reader, writer = os.pipe()
    with open(g.errors, "wb") as errors:
        g.process = subprocess.Popen(
            [str(SLUICE), "run", "-c", str(g.file)], stdin=subprocess.DEVNULL, stdout=writer, stderr=errors)
    os.close(writer)
    with g:
        until(lambda: accepts(g.port) and g.is_ready(), "the gateway is ready")
        os.close(reader)  # the log's reader has died
        assert [ask(g.port).status for _ in range(50)] == [200] * 50
        assert g.process.poll() is None


def test_a_log_reader_that_sleeps_blocks_no_request(origin, tmp_path):
    g = Gateway(tmp_path, configuration(origin()))
    reader, writer = os.pipe()
    with open(g.errors, "wb") as errors:
        g.process = subprocess.Popen(
            [str(SLUICE), "run", "-c", str(g.file)], stdin=subprocess.DEVNULL, stdout=writer, stderr=errors)
    os.close(writer)
    with g:
        until(lambda: accepts(g.port) and g.is_ready(), "the gateway is ready")
        began = time.monotonic()
        with connect(g.port) as stream:
            for _ in range(3000):  # far more lines than a pipe holds
                stream.send(REQUEST)
                assert stream.response().status == 200
        assert time.monotonic() - began < 20
        os.close(reader)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_on_both_sides(gateway):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        up_port = listener.getsockname()[1]

        def serve():
            connection, _ = listener.accept()
            stream = Stream(connection)
            request = stream.request()
            stream.send(ok(request.get("X-Forwarded-For").encode()))

        threading.Thread(target=serve, daemon=True).start()
        port = free_port()
        g = gateway(f"[::1]:{up_port}", listeners=[{"address": f"[::1]:{port}"}, {"address": f"127.0.0.1:{(four := free_port())}"}],
                    process={"port": four})
        with Stream(socket.create_connection(("::1", port), 5)) as stream:
            stream.send(REQUEST)
            assert stream.response().body in (b"::1", b'"[::1]"')


def test_requests_beyond_the_connections_wait_their_turn(origin, gateway):
    running, most, lock = [0], [0], threading.Lock()

    def handler(stream, r):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        stream.send(ok(r.target.encode()))

    g = gateway(origin(handler), upstream={"limits": {"connections": 2, "pending": 100}})
    streams = [connect(g.port) for _ in range(20)]
    for number, stream in enumerate(streams):
        stream.send(f"GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [stream.response().body for stream in streams] == [f"/{n}".encode() for n in range(20)]
    assert most[0] <= 2
    for stream in streams:
        stream.close()


def test_requests_beyond_the_queue_are_refused_at_once(origin, gateway):
    go = threading.Event()
    up = origin(lambda stream, r: go.wait(10) and stream.send(ok()))
    g = gateway(up, upstream={"limits": {"connections": 1, "pending": 2}})
    streams = [connect(g.port) for _ in range(3)]
    for stream in streams:
        stream.send(REQUEST)
    until(lambda: up.requests, "one runs")
    time.sleep(0.2)
    refused = ask(g.port, timeout=3)
    assert refused.status == 503 and refused.json()["type"] == "urn:sluice:problem:upstream-busy"
    assert refused.get("Retry-After")
    go.set()
    assert [stream.response().status for stream in streams] == [200] * 3


def test_a_waiting_client_that_leaves_gives_up_its_place(origin, gateway):
    go = threading.Event()
    up = origin(lambda stream, r: (r.target != "/held" or go.wait(10)) and stream.send(ok()))
    g = gateway(up, upstream={"limits": {"connections": 1, "pending": 1}})
    held, waiting = connect(g.port), connect(g.port)
    held.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: up.requests, "one runs")
    waiting.send("GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.2)
    waiting.reset()
    time.sleep(0.2)
    with connect(g.port) as other:
        other.send("GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        go.set()
        assert other.response().status == 200
    assert "/left" not in [r.target for r in up.requests]
    held.close()


def test_a_503_is_tried_elsewhere_if_the_file_says_so(origin, gateway):
    sick, well = origin(lambda stream, r: stream.send(ok(b"sick", status="503 No"))), origin()
    retries = {"attempts": 1, "on": ["503"], "budgetPercent": 100}
    g = gateway(sick, well, upstream={"balance": "round-robin", "retries": retries, "ejection": {"consecutiveFailures": 0}})
    assert [ask(g.port).status for _ in range(10)] == [200] * 10
    assert sick.requests


def test_a_hash_keeps_a_key_where_it_is(origin, gateway):
    ups = [origin() for _ in range(3)]
    g = gateway(*ups, upstream={"balance": {"by": "header:X-User"}})
    for _ in range(3):
        for user in range(30):
            assert ask(g.port, headers=[("X-User", f"user-{user}")]).status == 200
    seen = [{r.get("X-User") for r in up.requests} for up in ups]
    assert sum(map(len, seen)) == 30, "a user was sent to two endpoints"
    assert all(seen), "an endpoint got nobody"


REWRITES = {
    "prefix": ({"path": "/v1/*"}, {"stripPrefix": "/v1", "addPrefix": "/api"}, "/v1/a/b?x=1", "/api/a/b?x=1"),
    "prefix to the root": ({"path": "/v1/*"}, {"stripPrefix": "/v1"}, "/v1", "/"),
    "template": ({"path": "/u/{id}/p/{n}"}, {"path": "/people/{id}/posts/{n}"}, "/u/7/p/x%20y", "/people/7/posts/x%20y"),
    "rest": ({"path": "/old/*"}, {"path": "/new/{*}"}, "/old/a/b", "/new/a/b"),
    "query": ({"path": "/q/*"}, {"query": {"set": {"b": "2"}, "remove": ["secret"]}}, "/q/x?a=1&secret=s&b=1", "/q/x?a=1&b=2"),
}


@pytest.mark.parametrize("name", REWRITES)
def test_rewrites(origin, gateway, name):
    match, rewrite, asked, seen = REWRITES[name]
    up = origin()
    g = gateway(up, routes=[{"id": "r", "match": match, "rewrite": rewrite, "upstream": "origin"}])
    assert ask(g.port, path=asked).status == 200
    assert up.requests[0].target == seen


def test_redirect(origin, gateway):
    up = origin()
    g = gateway(up, routes=[
        {"id": "r", "match": {"path": "/old/*"}, "redirect": {"status": 301, "location": "https://{host}/new/{*}"}},
        route(path="/else"),
    ])
    response = ask(g.port, path="/old/a/b", host="example.com")
    assert response.status == 301 and response.get("Location") == "https://example.com/new/a/b"
    assert up.requests == []


@pytest.mark.parametrize("by, field", [
    (None, ("Accept-Version", "2")), ("header:X-Version", ("X-Version", "2")), ("media-type:v", ("Accept", "application/json;v=2")),
])
def test_versions(origin, gateway, by, field):
    def answer(id):
        return {"upstream": "origin", "policies": [{"type": "respond", "body": id}]}

    version = {"value": "2", **({"by": by} if by else {})}
    g = gateway(origin(), routes=[
        {"id": "two", "match": {"path": "/r", "version": version}, **answer("two")},
        {"id": "one", "match": {"path": "/r"}, **answer("one")},
    ])
    assert ask(g.port, path="/r").body == b"one"
    assert ask(g.port, path="/r", headers=[field]).body == b"two"
    assert ask(g.port, path="/r", headers=[(field[0], field[1].replace("2", "3"))]).body == b"one"


def test_host_rewrites(origin, gateway):
    up = origin()
    g = gateway(up, routes=[
        route("set", "/set", rewrite={"host": "inner.example"}), route("own", "/own", rewrite={"host": "endpoint"}),
        route("keep", "/keep"),
    ])
    for path in ("/set", "/own", "/keep"):
        assert ask(g.port, path=path, host="outer.example").status == 200
    assert [r.values("Host") for r in up.requests] == [["inner.example"], [up.address], ["outer.example"]]


def test_two_clients_never_see_each_others_answers(origin, gateway):
    def handler(stream, r):
        time.sleep((hash(r.target) % 5) / 1000)
        stream.send(ok(r.target.encode() + b" " + r.body))

    g = gateway(origin(handler), threads=2)
    wrong = []

    def client(name):
        with connect(g.port) as stream:
            for number in range(200):
                body = f"{name}-{number}".encode() * (1 + number % 50)
                stream.send(b"POST /%s/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (name.encode(), number, len(body)) + body)
                if stream.response().body != f"/{name}/{number} ".encode() + body:
                    wrong.append((name, number))

    threads = [threading.Thread(target=client, args=(f"c{n}",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
