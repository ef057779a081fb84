"""Redis servers of a scenario, and nodes that keep their limits in one."""

import json
import os
import re
import socket
import subprocess
import time

import harness as h

SECRET = "benchmarks have no secrets to keep"


class Redis(h.Server):
    """A redis-server of its own, set as `cluster/config/redis.conf` says; ended with the scenario. It shares its core with the
    load and the upstream, so it goes before them, as far as this user may say so: elsewhere it has a machine of its own."""

    def __init__(self, name="redis", options=(), port=None):
        port = port or h.free_port()
        self.socket = str(h.WORK / f"{name}.sock")
        super().__init__(name, [
            "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", self.socket, "--save", "",
            "--dir", str(h.WORK), "--hash-max-listpack-entries", "64", "--lazyfree-lazy-expire", "yes",
            "--maxmemory-policy", "noeviction", *options,
        ], port, h.OTHER_CORES, -10)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def ask(self, *words):
        """One command, and what is behind its answer's first byte; an error ends the run."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 5) as s, s.makefile("rb") as answer:
            s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            line = answer.readline()
            if line[:1] == b"-":
                raise SystemExit(f"redis: {line.decode()}")
            return answer.read(int(line[1:])) if line[:1] == b"$" else line[1:].strip()

    def info(self, section):
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def memory(self):
        return int(self.info("memory")["used_memory"])

    def calls(self):
        """Commands that clients have sent, by name; what scripts do inside is not counted, nor what this asks itself."""
        counts = {}
        for name, text in self.info("commandstats").items():
            name = name.removeprefix("cmdstat_")
            if name in ("fcall", "evalsha", "eval", "publish", "ping"):
                counts[name] = int(re.search(r"calls=(\d+)", text)[1])
        return counts


class Node(h.Server):
    """A gateway whose start is over when its store decides; see `node`."""

    admin = None
    has_store = False

    def start(self, wait=20):
        super().start(wait)
        try:
            if self.has_store:
                wait_for_store(self)
        except BaseException:
            self.stop()
            raise
        return self


def node(name, store, upstream_port, limit, mode="auto", access_log='"off"', prefix=(), outage="local"):
    """A node with a limit for each key; `store` is a Redis, a document of the option `store`, or None: its own memory."""
    port, admin = h.free_port(), h.free_port()
    store = store.url if isinstance(store, Redis) else store or "embedded"
    path = h.fill(
        "sluice-quota.json", name, PORT=port, ADMIN=admin, UPSTREAM=upstream_port, CONSUMERS=h.consumers(), NAME=name,
        ACCESS_LOG=access_log, STORE=json.dumps(store), LIMIT=limit, MODE=mode,
        OUTAGE=outage)
    os.environ["SLUICE_BENCH_SECRET"] = SECRET
    server = Node(name, [*prefix, str(h.SLUICE), "run", "-c", str(path)], port)
    server.admin, server.has_store = admin, store != "embedded"
    return server


def metric(server, name):
    """Samples of a metric by the values of their labels."""
    text = h.get(server.admin, "/metrics")[1].decode()
    return {
        ",".join(re.findall(r'"([^"]*)"', labels)): float(value)
        for labels, value in re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.M)
    }


def decisions(server):
    """How many questions this node has answered, by who decided."""
    return metric(server, "sluice_quota_decisions_total")


def difference(after, before):
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def shares(counts):
    total = sum(counts.values())
    return {name: round(value / total, 4) for name, value in counts.items()} if total else {}


def wait_for_store(server, seconds=20):
    """Until the store decides: a node that starts is ready before it is connected."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            before = decisions(server)
        except OSError:  # The admin port opens last.
            time.sleep(0.05)
            continue
        h.get(server.port, headers=[("X-API-Key", h.key(0))])
        if difference(decisions(server), before).keys() & {"exact", "leased", "denycache"}:
            return
        time.sleep(0.05)
    raise SystemExit(f"{server.name}: the store did not decide within {seconds} s")


def bench(server, seconds, rate=None, keys=1000, connections=64, warmup=0, path="/", timeout=60, headers=()):
    """The bundled load generator's own result."""
    command = [str(h.SLUICE), "bench", "-c", str(connections), "-d", f"{seconds}s", "-w", f"{warmup}s", "--quiet", "--json", "-"]
    if rate:
        command += ["-R", str(rate)]
    for header in headers:
        command += ["-H", header]
    names = h.WORK / f"keys-{keys}.txt"
    names.write_text("\n".join(h.key(i) for i in range(keys)) + "\n")
    command += ["--keys", str(names), f"http://127.0.0.1:{server.port}{path}"]
    output = subprocess.run(
        h.pinned(command), capture_output=True, text=True, timeout=seconds + warmup + timeout)
    if not output.stdout:
        raise SystemExit(f"bench failed: {output.stderr[-500:]}")
    return json.loads(output.stdout)
