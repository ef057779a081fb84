"""What asking Redis about every request adds to its latency, while others keep Redis busy."""

import re
import statistics
import subprocess
import time

import harness as h
import lanes
import stores

AMPLE = '{ per: "key", rate: "1000/s", burst: 60000 }'
SHARE = 0.4  # of a core, for Redis: what is measured beside it makes it some 0.6
BATCH = 64
RATE = 2000


class Busy:
    """Others who ask Redis for decisions at a rate that keeps it busy for a share of the time."""

    def __init__(self, redis, seconds):
        self.redis = redis
        self.rate = SHARE * 1e6 / (BATCH * lanes.load(redis, "flat", BATCH, lanes.KEYS, 1)[1])
        command = [h.WORK / "lanes-load", redis.socket, "flat", BATCH, lanes.KEYS, seconds, "function", round(self.rate)]
        self.process = subprocess.Popen(h.pinned(list(map(str, command))), stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def round_trip(redis):
    """p50 and p99 in milliseconds of one decision by a plain script, one at a time, by Redis's own client."""
    script = redis.ask("SCRIPT", "LOAD", (h.PEERS / "gcra.lua").read_bytes()).decode()
    command = ["redis-benchmark", "-p", str(redis.port), "-c", "1", "-n", "5000", "--csv"]
    command += ["EVALSHA", script, "1", "bench:round-trip", "1000", "60000000"]
    output = subprocess.run(h.pinned(command), capture_output=True, text=True, timeout=60).stdout.splitlines()
    row = dict(zip(re.findall(r'"([^"]*)"', output[-2]), re.findall(r'"([^"]*)"', output[-1])))
    return float(row["p50_latency_ms"]), float(row["p99_latency_ms"])


def run(options):
    lanes.build_load()
    h.write_key_files()
    kinds = {"no limit": "/free/a", "exact": "/"}
    figures = {name: ([], []) for name in ("round trip", *kinds)}
    with h.upstream() as up, lanes.Redis() as redis:
        redis.cores = h.OTHER_CORES
        redis.open()
        with stores.node("quota-exact", redis, up.port, AMPLE, "exact") as server:
            counts = stores.decisions(server)
            with Busy(redis, 15 + options.rounds * 8):
                before, began = redis.cpu_nanoseconds(), time.monotonic()
                for number in range(options.rounds):
                    found = {"round trip": round_trip(redis)}
                    for name, path in kinds.items():
                        latency = stores.bench(server, 2, RATE, path=path)["latencyNanoseconds"]
                        found[name] = latency["p50"] / 1e6, latency["p99"] / 1e6
                    for name, (p50, p99) in found.items():
                        figures[name][0].append(p50)
                        figures[name][1].append(p99)
                    h.progress(f"round {number + 1}: {found}")
                share = (redis.cpu_nanoseconds() - before) / 1e9 / (time.monotonic() - began)
            decided = stores.shares(stores.difference(stores.decisions(server), counts))
    h.done()
    p50, p99 = ({name: statistics.median(values[i]) for name, values in figures.items()} for i in (0, 1))
    return {
        "Redis's share of its core": share, "requests a second": RATE, "decided": decided,
        "p50 ms": p50, "p99 ms": p99,
        "added at p50, ms": p50["exact"] - p50["no limit"],
        "beyond a round trip, p50, µs": 1000 * (p50["exact"] - p50["no limit"] - p50["round trip"]),
        "added at p99, ms": p99["exact"] - p99["no limit"],
        "beyond a round trip, p99, ms": p99["exact"] - p99["no limit"] - p99["round trip"],
    }
