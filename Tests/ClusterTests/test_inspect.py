"""sluice inspect: where a shared store keeps somebody's counters."""

import hashlib
import re

from support import Gateway, ask, configuration, route, sluice, until

KEY = "a-key-of-the-tests"
LIMITS = [{"per": "consumer", "window": "50/1h"}, {"per": "consumer", "rate": "1/m", "burst": 40}, {"per": "ip", "window": "9/1h"}]


def test_counters_are_shown_as_redis_keeps_them_and_stay_as_they_are(origin, redis, tmp_path):
    store = redis()
    policies = [{"type": "api-key"}, {"type": "rate-limit", "limits": LIMITS, "mode": "exact"}]
    content = configuration(
        origin(), routes=[route(policies=policies)], store=store.url, cluster={"name": "look", "secret": "s" * 32},
        consumers=[{"id": "app", "keys": [{"id": "k", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]}])
    with Gateway(tmp_path, content) as g:

        def asked():
            response = ask(g.port, headers=[("X-API-Key", KEY)])
            return response.status == 200 and response.get("Sluice-Degraded") is None

        until(asked, "the node asks Redis")
        for _ in range(2):
            assert asked()
        first = sluice("inspect", "--consumer", "app", g.file)
        assert first.returncode == 0, first.stderr
        assert re.search(r"limit 50, used 3, left 47, full again in \d+m", first.stdout), first.stdout
        assert "limit 40, used 3, left 37" in first.stdout
        assert "not looked up, since it counts by ip" in first.stdout
        key = re.search(r"hash +(sluice:look:\{rl:\d+\}:w3600:\d+)", first.stdout)[1]
        field = bytes.fromhex(re.search(r"field +([0-9a-f]{24})", first.stdout)[1])
        value = bytes.fromhex(re.search(r"value +([0-9a-f]+)", first.stdout)[1])
        found = store.ask("HGETALL", key)
        assert dict(zip(found[::2], found[1::2]))[field] == value
        second = sluice("inspect", "--route", "all", "--consumer", "app", "--ip", "127.0.0.1", g.file)
        assert "limit 50, used 3, left 47" in second.stdout and "limit 9, used 3, left 6" in second.stdout

    store.kill()
    gone = sluice("inspect", "--consumer", "app", g.file)
    assert gone.returncode == 1 and "the store cannot be asked" in gone.stderr


def test_without_a_store_there_is_nothing_to_look_into(origin, tmp_path):
    g = Gateway(tmp_path, configuration(origin()))
    done = sluice("inspect", "--route", "all", g.file)
    assert done.returncode == 1 and "own memory" in done.stderr
    assert sluice("inspect", g.file).returncode == 2
