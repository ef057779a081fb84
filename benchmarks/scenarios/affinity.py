"""Redis commands per request through the router, with and without affinity: three nodes, zipf 1.0 over 100,000 keys.

The limit is one of a minute, leased: what a node learns of a key in one minute it goes by in the next, so each side runs for one before
it counts, and counts for a whole one."""

import bisect
import itertools
import json
import random
import subprocess
import time

import harness as h

KEYS = 100_000
DRAWN = 400_000
RATE = 8000
QUICK = {"drainSeconds": 1}
MINUTE = 60
LIMIT = {"type": "rate-limit", "limits": [{"per": "header:X-API-Key", "window": "100000/1m"}], "mode": "leased"}


def run(options):
    h.WORK.mkdir(exist_ok=True)
    keys = h.WORK / "zipf.txt"
    keys.write_text("".join(f"key-{number:06d}\n" for number in zipf()))
    figures = {"without": [], "with": []}
    for number in range(max(1, options.rounds // 4)):
        for name, affinity in (("without", None), ("with", "header:X-API-Key")):
            figures[name].append(measure(affinity, keys))
            h.progress(f"round {number + 1} {name} {figures[name][-1]:.4f} commands a request")
    h.done()
    ratio = h.ratios(figures, "with", "without")
    return {
        "unit": "Redis commands/request", "affinity": {name: h.summary(values) for name, values in figures.items()},
        "ratios": {"with/without": ratio}, "goals": [h.goal("with/without", ratio["median"], 0.5)],
    }


def zipf():
    """Keys by rank, each drawn as often as its rank's inverse."""
    sums = list(itertools.accumulate(1 / rank for rank in range(1, KEYS + 1)))
    drawn = random.Random(7)
    return (bisect.bisect(sums, drawn.random() * sums[-1]) for _ in range(DRAWN))


def measure(affinity, keys):
    servers = [h.upstream()]
    try:
        servers[0].start()
        redis = h.free_port()
        store = ["redis-server", "--port", str(redis), "--save", "", "--appendonly", "no", "--dir", str(h.WORK)]
        servers.append(h.Server("affinity-redis", store, redis, h.OTHER_CORES).start())
        shared = {
            "store": f"redis://127.0.0.1:{redis}",
            "cluster": {"name": "bench", "secret": "a secret of thirty-two bytes, say"},
        }
        for number in (1, 2, 3):
            servers.append(h.member(f"affinity-node-{number}", "run", {
                **shared, "node": QUICK, "upstreams": {"bench": {"endpoints": [f"127.0.0.1:{servers[0].port}"]}},
                "routes": [{"id": "all", "match": {"path": "/*"}, "policies": [LIMIT], "upstream": "bench"}]}, cores=h.CORES).start())
        router = h.member("affinity-router", "router", {
            **shared, "node": QUICK, "router": {"affinity": affinity} if affinity else {}}, cores=h.CORES).start()
        servers.append(router)
        h.until_served(router.port, headers=[("X-API-Key", "first")])
        quiet = commands(redis)
        time.sleep(2)
        idle = (commands(redis) - quiet) / 2
        load(router.port, keys, MINUTE)
        before, since = commands(redis), time.monotonic()
        requests = load(router.port, keys, MINUTE)
        return (commands(redis) - before - idle * (time.monotonic() - since)) / requests
    finally:
        for server in reversed(servers):
            server.stop()


def load(port, keys, seconds):
    done = subprocess.run(
        [str(h.SLUICE), "bench", "-q", "-c", "64", "-R", str(RATE), "-d", f"{seconds}s", "--keys", str(keys), "--json", "-",
         f"http://127.0.0.1:{port}/"], capture_output=True, text=True)
    result = json.loads(done.stdout)
    bad = sum(count for status, count in result["statuses"].items() if int(status) >= 500)
    if bad:
        raise SystemExit(f"{bad} of {result['requests']} requests failed; the figure would mean nothing")
    return result["requests"]


def commands(port):
    """What nodes have asked of Redis: calls of functions, each for whatever was to be decided in a turn of a loop."""
    done = subprocess.run(["redis-cli", "-p", str(port), "INFO", "commandstats"], capture_output=True, text=True, check=True)
    return int(done.stdout.split("cmdstat_fcall:calls=")[1].split(",")[0])
