"""Everything at once: clients and upstreams that misbehave at random, reloads, and afterwards nothing may be left behind."""

import os
import random
import signal
import threading
import time

import pytest

from support import ask, configuration, connect, ok, route, until


def upstream_behaviour(chance):
    def handler(stream, r):
        fate = chance.random()
        if fate < 0.60:
            stream.send(ok(r.body or b"ok"))
        elif fate < 0.66:
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
            return False
        elif fate < 0.72:
            stream.reset()
            return False
        elif fate < 0.78:
            return False
        elif fate < 0.84:
            stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            time.sleep(0.01)
            stream.send(b"0\r\n\r\n")
        elif fate < 0.88:
            stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        elif fate < 0.92:
            stream.send(b"garbage\r\n\r\n")
            return False
        elif fate < 0.96:
            stream.send(ok(b"bye"))
            return False
        else:
            time.sleep(0.7)  # beyond the response timeout
            stream.send(ok())

    return handler


REQUESTS = [
    b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HEAD /d HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /e HTTP/1.0\r\n\r\n",
    b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n" * 5,
    b"nonsense\r\n\r\n",
    b"POST /g HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nnever enough",
    b"POST /h HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"GET /i HTTP/1.1\r\nHo",
    b"GET /j HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    b"",
]


def client(port, seed, until_, trouble):
    chance = random.Random(seed)
    while time.monotonic() < until_:
        try:
            with connect(port, timeout=5) as stream:
                for _ in range(chance.randint(1, 4)):
                    data = chance.choice(REQUESTS)
                    cut = chance.randint(0, len(data)) if chance.random() < 0.2 else len(data)
                    stream.send(data[:cut])
                    fate = chance.random()
                    if fate < 0.15:
                        stream.reset()
                        break
                    if fate < 0.25:
                        break
                    stream.socket.settimeout(0.05 if cut < len(data) or fate < 0.4 else 0.25)
                    stream.fill()
        except (OSError, EOFError, ValueError):
            pass
        except Exception as error:  # a bug of the test itself must not pass as chaos
            trouble.append(repr(error))
            return


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_chaos_nothing_is_left_behind(origin, gateway, seed):
    chance = random.Random(seed)
    ups = [origin(upstream_behaviour(random.Random(seed * 10 + n))) for n in range(3)]
    limits = {"type": "rate-limit", "limits": [{"per": "ip", "concurrency": 1000}]}
    options = {
        "upstream": {
            "timeouts": {"response": "500ms", "connect": "500ms"}, "limits": {"connections": 40, "pending": 40},
            "retries": {"attempts": 2, "on": ["connect-failure", "reset", "503"], "budgetPercent": 50},
        },
        "routes": [route(policies=[limits])], "threads": 2, "node": {"timeouts": {"head": "1s", "body": "1s", "idle": "2s", "linger": "1s"}},
    }
    g = gateway(*ups, **options)
    end, trouble = time.monotonic() + 6, []
    clients = [threading.Thread(target=client, args=(g.port, seed * 1000 + n, end, trouble)) for n in range(64)]
    for thread in clients:
        thread.start()
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.1, 0.5))
        g.write(configuration(*chance.sample(ups, chance.randint(1, 3)), **options))
        g.signal(signal.SIGHUP)
    for thread in clients:
        thread.join(20)
    assert trouble == []
    assert g.process.poll() is None, f"it died:\n{g.errors.read_text()[-3000:]}"

    calm = origin(lambda stream, r: stream.send(ok(b"calm")))
    g.reload(configuration(calm, **options))
    until(lambda: ask(g.port).body == b"calm", "it serves when the storm is over")
    assert [ask(g.port).status for _ in range(50)] == [200] * 50

    def gauge(name):
        return sum(sample.value for sample in g.metrics()[name].samples)

    until(lambda: gauge("sluice_requests_active") == 0, "no request is counted as active for ever")
    until(lambda: gauge("sluice_connections_open") <= 1, "no client connection is left")
    until(lambda: gauge("sluice_upstream_active_requests") == 0, "no upstream request is counted for ever")
    total = sum(s.value for s in g.metrics()["sluice_requests"].samples if s.name.endswith("_total"))
    assert total > 2000, f"that was no storm: {total} requests"
    before = g.cpu_seconds()
    time.sleep(1)
    assert g.cpu_seconds() - before < 0.2, "an idle node burns CPU"
    began = time.monotonic()
    assert g.stop() == 0
    assert time.monotonic() - began < 10
