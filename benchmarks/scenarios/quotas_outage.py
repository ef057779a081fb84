"""What a store that is frozen, or lost and replaced, does to requests, and how soon it decides again."""

import datetime
import json
import signal
import statistics
import subprocess
import threading
import time

import harness as h
import stores

INTERVAL = 50  # milliseconds of each figure of the load
SETTLED = 8  # seconds until a node that starts has its share of every limit
EXACT = '{ per: "key", rate: "1000/s", burst: 60000 }'


def log_entries(path):
    """(moment, milliseconds, status, who decided) of each request in an access log."""
    for line in open(path):
        entry = json.loads(line)
        moment = datetime.datetime.fromisoformat(entry["time"]).timestamp()
        yield moment, entry["durationMicroseconds"] / 1000, entry["status"], entry.get("limits", {}).get("mode")


def quiet(figures):
    return statistics.quantiles(figures, n=4)[0]


class Load:
    """The bundled generator in an open loop, with figures for each interval; `run` meanwhile does something to the store."""

    def __init__(self, server, rate, seconds, keys):
        names = h.WORK / f"keys-{keys}.txt"
        names.write_text("\n".join(h.key(i) for i in range(keys)) + "\n")
        self.command = h.pinned([
            str(h.SLUICE), "bench", "-c", "128", "-d", f"{seconds}s", "-R", str(rate), "--interval", f"{INTERVAL}ms", "--quiet",
            "--json", "-", "--keys", str(names), f"http://127.0.0.1:{server.port}/"])
        self.seconds = seconds

    def run(self, meanwhile):
        child = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        began = time.time()
        worker = threading.Thread(target=meanwhile)
        worker.start()
        output, faults = child.communicate(timeout=self.seconds + 60)
        worker.join()
        if not output:
            raise SystemExit(f"bench failed: {faults[-500:]}")
        self.result = json.loads(output)
        # What it took to start the generator, at most: figures are aligned by that.
        self.began = began
        return self.result

    def p99(self, start, end):
        """The p99 of each interval that lies between two moments, in milliseconds."""
        return [
            part["p99Nanoseconds"] / 1e6 for part in self.result["seconds"]
            if part["responses"] and self.began + part["startNanoseconds"] / 1e9 >= start
            and self.began + (part["startNanoseconds"] + part["nanoseconds"]) / 1e9 <= end
        ]


def frozen(rate=20_000, keys=1000, mode="exact"):
    """SIGSTOP for two seconds under an open loop: what each request waits, and who decides."""
    log = h.WORK / "quotas-frozen.log"
    log.unlink(missing_ok=True)
    moments = {}
    with h.upstream() as up, stores.Redis("quotas-redis") as redis:
        with stores.node("quota-frozen", redis, up.port, EXACT, mode, json.dumps({"file": str(log)})) as server:
            time.sleep(SETTLED)
            stores.bench(server, 1, rate, keys)

            def freeze():
                time.sleep(2)
                moments["frozen"] = time.time()
                redis.signal(signal.SIGSTOP)
                time.sleep(2)
                redis.signal(signal.SIGCONT)
                moments["thawed"] = time.time()

            load = Load(server, rate, 6, keys)
            result = load.run(freeze)
    entries = sorted(log_entries(log))
    frozen_at, thawed_at = moments["frozen"], moments["thawed"]
    before = load.p99(frozen_at - 1.5, frozen_at - 0.1)
    # What else the machine does shows in the worst intervals, so the quiet ones are compared: a quarter is below.
    base = quiet(before)
    # The generator's start takes some of the first interval: both ends are taken wider by one.
    during = load.p99(frozen_at - INTERVAL / 1000, frozen_at + 0.1 + 2 * INTERVAL / 1000)
    later = load.p99(frozen_at + 0.1 + INTERVAL / 1000, thawed_at)
    waited = [moment for moment, lasted, _, _ in entries if frozen_at <= moment <= thawed_at and lasted > base + 5]
    ends = [moment for moment, _, _, mode in entries if mode == "local" and moment >= thawed_at - 0.05]
    back = [moment for moment, _, _, mode in entries if mode in ("exact", "leased", "denycache") and moment > thawed_at]
    return {
        "rate": rate, "sent a second": result["openLoop"]["sentPerSecond"], "held": str(result["openLoop"]["held"]),
        "generator's lag p99 ms": result["openLoop"]["lagNanoseconds"]["p99"] / 1e6,
        "statuses": str(result["statuses"]),
        "p99 ms before": base,
        "p99 ms at its worst": max(during),
        "p99 ms added at its worst": max(during) - base,
        "ms in which requests waited": (max(waited) - frozen_at) * 1000 if waited else 0.0,
        "p99 ms later": quiet(later),
        "p99 ms added later": quiet(later) - base,
        "first by the store after ms": (back[0] - thawed_at) * 1000 if back else float("inf"),
        "last by the node's share after ms": (max(ends) - thawed_at) * 1000 if ends else 0.0,
        "decided while frozen": stores.shares(count(entries, frozen_at, thawed_at)),
        "series p99 ms": str([round(value, 2) for value in load.p99(frozen_at - 0.3, thawed_at + 1)]),
    }


class Sentinel(h.Server):
    """One of those who watch a primary, called `m`, and replace it."""

    def __init__(self, number, primary):
        port = h.free_port()
        path = h.WORK / f"sentinel-{number}.conf"
        path.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {h.WORK}\nsentinel monitor m 127.0.0.1 {primary.port} 2\n"
            "sentinel down-after-milliseconds m 500\nsentinel failover-timeout m 2000\n")
        super().__init__(f"sentinel-{number}", ["redis-server", str(path), "--sentinel"], port, h.OTHER_CORES)


def failover(rate=5000, keys=1000):
    """kill -9 of the primary behind three sentinels under an open loop: statuses, and when the store decides again."""
    log = h.WORK / "quotas-failover.log"
    log.unlink(missing_ok=True)
    moments = {}
    servers = [primary := stores.Redis("quotas-primary")]
    servers.append(stores.Redis("quotas-replica", ["--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0"]))
    try:
        for server in servers:
            server.start()
        time.sleep(2)  # sentinels look for replicas when they start, and then every ten seconds
        for number in range(3):
            servers.append(Sentinel(number, primary).start())
        document = {"sentinel": {"name": "m", "addresses": [f"127.0.0.1:{one.port}" for one in servers[2:]]}}
        with h.upstream() as up:
            with stores.node("quota-failover", document, up.port, EXACT, "exact", json.dumps({"file": str(log)})) as node:
                time.sleep(SETTLED)

                def kill():
                    time.sleep(2)
                    moments["killed"] = time.time()
                    primary.signal(signal.SIGKILL)

                result = Load(node, rate, 7, keys).run(kill)
    finally:
        for server in reversed(servers):
            server.stop()
    entries = sorted(log_entries(log))
    killed = moments["killed"]
    # Answers of the old primary may still be on their way.
    back = [moment for moment, _, _, mode in entries if mode in ("exact", "leased") and moment > killed + 0.1]
    alone = [moment for moment, _, _, mode in entries if mode == "local" and moment >= killed]
    return {
        "rate": rate, "statuses": str(result["statuses"]), "failed": str(result["errors"]),
        "5xx": result["statusClasses"]["5xx"] + sum(result["errors"].values()),
        "first by the new primary after s": back[0] - killed if back else float("inf"),
        "last by the node's share after s": alone[-1] - killed if alone else 0.0,
        "slowest request ms": max(lasted for moment, lasted, _, _ in entries if moment >= killed),
    }


def count(entries, start, end):
    counts = {}
    for moment, _, _, mode in entries:
        if start <= moment <= end:
            counts[mode] = counts.get(mode, 0) + 1
    return counts
