"""What asking Redis about every request adds to its latency, while others keep Redis busy."""

import re
import statistics
import subprocess
import time

import harness as h
import lanes
import stores

AMPLE = '{ per: "key", rate: "1000/s", burst: 60000 }'
SHARE = 0.6  # of a core, for Redis alone; beside what is measured it gets somewhat less
BATCH = 64
RATE = 2000


class Busy:
    """Others who ask Redis for decisions, at a rate that keeps it busy for a share of the time."""

    def __init__(self, redis, seconds):
        self.redis, self.seconds, self.process = redis, seconds, None
        self.rate = SHARE * 1e6 / (BATCH * 1.0)

    def start(self):
        command = [h.WORK / "lanes-load", self.redis.socket, "flat", BATCH, lanes.KEYS, self.seconds, "function", round(self.rate)]
        self.process = subprocess.Popen(h.pinned(list(map(str, command))), stdout=subprocess.DEVNULL)
        time.sleep(0.3)

    def share(self):
        """Of a core, over a second."""
        before, began = self.redis.cpu_nanoseconds(), time.monotonic()
        time.sleep(1)
        return (self.redis.cpu_nanoseconds() - before) / 1e9 / (time.monotonic() - began)

    def __enter__(self):
        for _ in range(5):
            self.start()
            share = self.share()
            if abs(share - SHARE) < 0.05:
                break
            self.__exit__()
            self.rate *= min(max(SHARE / share, 0.3), 3)
        else:
            self.start()
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
    if options.peers_only:
        return {}
    lanes.build_load()
    h.write_key_files()
    kinds = {"no limit": "/free/a", "exact": "/"}
    figures = {name: ([], []) for name in ("round trip", *kinds)}
    with h.upstream() as up, lanes.Redis() as redis:
        redis.cores = h.OTHER_CORES
        redis.open()
        with stores.node("quota-exact", redis, up.port, AMPLE, "exact") as server:
            counts = stores.decisions(server)
            with Busy(redis, 30 + options.rounds * 10) as busy:
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
                if busy.process.poll() is not None:
                    raise SystemExit(f"the load on Redis ended early, with {busy.process.returncode}")
            decided = stores.shares(stores.difference(stores.decisions(server), counts))
    h.done()
    p50, p99 = ({name: statistics.median(values[i]) for name, values in figures.items()} for i in (0, 1))
    beyond = {name: values["exact"] - values["no limit"] - values["round trip"] for name, values in (("p50", p50), ("p99", p99))}
    return {
        "Redis's share of its core": share, "requests a second": RATE, "decided": decided,
        "p50 ms": p50, "p99 ms": p99,
        "added at p50, ms": p50["exact"] - p50["no limit"], "added at p99, ms": p99["exact"] - p99["no limit"],
        "goals": [
            h.goal("exact beyond a round trip, p50, µs", beyond["p50"] * 1000, 50),
            h.goal("exact beyond a round trip, p99, ms", beyond["p99"], 1),
        ],
    }
