"""Decisions that one Redis core makes with the decision library, in batches of 64, and the memory of a counter."""

import statistics
import struct
import subprocess

import harness as h
import stores

LANES = 16
KEYS = 4096  # live ones of the timed rounds
MEMORY_KEYS = [150_000, 200_000, 270_000]  # hash tables well and badly filled
ID = b"0123456789012345678901234567890123456789"
# The work, and the most microseconds of CPU that a decision may take: 1.0 M and 400 k a second.
WORK = {"flat": 1.0, "three": 2.5, "together": 2.5}


class Redis(stores.Redis):
    """With the library loaded and all lanes open."""

    def __init__(self):
        super().__init__("lanes-redis")
        # Alone on the server's core: the load is on the other one.
        self.cores = h.SERVER_CORES

    def open(self):
        self.ask("FLUSHALL", "SYNC")
        source = b"#!lua name=gwrl_1\n" + (h.ROOT / "Sources" / "Cluster" / "Lanes" / "lanes.lua").read_bytes()
        self.ask("FUNCTION", "LOAD", "REPLACE", source)
        for lane in range(LANES):
            key = f"sluice:bench:{{rl:{lane}}}:m"
            self.ask("FCALL", "gwrl_1", 1, key, "recover", ID, b"bench-01", struct.pack("<ddd", 0, 0, 0))

    def fields(self):
        count = self.ask("EVAL", "local n = 0 for _, k in ipairs(redis.call('KEYS', '*:g64:*')) do n = n + redis.call('HLEN', k) end return n", 0)
        return int(count)


def load(redis, work, batch, keys, seconds):
    """Decisions made, and microseconds of Redis's CPU for each."""
    before = redis.cpu_nanoseconds()
    command = [str(h.WORK / "lanes-load"), redis.socket, work, str(batch), str(keys), str(seconds), "function"]
    result = subprocess.run(h.pinned(command), capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"lanes-load: {result.stderr}")
    made, admitted, _ = map(int, result.stdout.split())
    if admitted < 0.9 * made:
        raise SystemExit(f"only {admitted} of {made} were admitted; the figure would mean something else")
    return made, (redis.cpu_nanoseconds() - before) / 1000 / made


def bytes_per_key(redis, keys):
    """Redis's memory for each counter of a rate, everything around it included, a few seconds after the first touch."""
    redis.open()
    load(redis, "flat", 64, 1024, 1)  # what Lua and the connections keep is there before
    redis.ask("FLUSHALL", "SYNC")
    redis.open()
    empty = redis.memory()
    load(redis, "flat", 64, keys, 3)
    return (redis.memory() - empty) / redis.fields()


def build_load():
    source = h.HERE / "lanes_load.c"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(h.WORK / "lanes-load"), str(source), "-lhiredis"], check=True)


def run(options):
    if options.peers_only:
        return {}
    build_load()
    costs = {work: [] for work in WORK}
    smaller = {}
    with Redis() as redis:
        redis.open()
        for work in WORK:
            load(redis, work, 64, KEYS, 0.5)
        for number in range(options.rounds):
            for work in WORK:
                _, cost = load(redis, work, 64, KEYS, options.seconds)
                costs[work].append(cost)
                h.progress(f"round {number + 1}/{options.rounds} {work:9} {cost:.3f} µs")
        for batch in [1, 16, 128]:
            smaller[f"flat, batch {batch}"] = load(redis, "flat", batch, KEYS, 2)[1]
        memory = {str(keys): bytes_per_key(redis, keys) for keys in MEMORY_KEYS}
    h.done()
    median = {work: statistics.median(cost) for work, cost in costs.items()}
    return {
        "unit": "µs of Redis's CPU for a decision, batches of 64",
        "flat: one rate": h.summary(costs["flat"]),
        "three levels: tenant, rate, day": h.summary(costs["three"]),
        "three levels, no counter twice": h.summary(costs["together"]),
        "decisions a core-second": {work: 1e6 / cost for work, cost in median.items()},
        "µs at other sizes": smaller,
        "bytes for a live key, by how many": memory,
        "goals": [
            h.goal("µs, flat (1.0 M/s)", median["flat"], WORK["flat"]),
            h.goal("µs, three levels (400 k/s)", median["three"], WORK["three"]),
            h.goal("µs, three levels, no counter twice", median["together"], WORK["together"]),
            h.goal("bytes for a live key", max(memory.values()), 80),
        ],
    }
