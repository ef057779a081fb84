"""What keys and revocations cost a node, and how long a revocation takes to hold on eight nodes under load."""

import json
import os
import re
import socket
import subprocess
import time

import harness as h
import stores

NODES = 8
RATE = 1000  # requests a second on each node while revocations are measured
COUNT = 100


def cost(part):
    """The figures of `fact-cost`, by name."""
    command = ["swift", "build", "-c", "release", "--product", "fact-cost", "--static-swift-stdlib", "--package-path", str(h.ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "BENCHMARK": "1"})
    if built.returncode:
        raise SystemExit(built.stdout[-2000:] + built.stderr[-2000:])
    output = subprocess.run(
        h.pinned([str(h.ROOT / ".build" / "release" / "fact-cost"), part]), capture_output=True, text=True, check=True
    ).stdout
    return {name: float(value) for name, value in (line.split("\t") for line in output.splitlines())}


def node(number, redis, upstream_port):
    port, admin = h.free_port(), h.free_port()
    path = h.WORK / f"facts-{number}.json"
    path.write_text(json.dumps({
        "node": {"threads": 1, "name": f"facts-{number}"}, "listeners": [{"address": f"127.0.0.1:{port}"}],
        "admin": {"address": f"127.0.0.1:{admin}"}, "accessLog": "off", "store": redis.url,
        "cluster": {"name": "facts", "secret": stores.SECRET}, "consumers": [{"id": "app"}],
        "upstreams": {"up": {"endpoints": [f"127.0.0.1:{upstream_port}"]}},
        "routes": [{"id": "all", "match": {"path": "/*"}, "policies": [{"type": "api-key"}], "upstream": "up"}],
    }))
    server = h.Server(f"facts-{number}", [str(h.SLUICE), "run", "-c", str(path)], port)
    server.admin = admin
    return server


class Kept:
    """One connection for many requests."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method="GET", path="/", key=None, body=None):
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        head += f"X-API-Key: {key}\r\n" if key else ""
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n" if data else ""
        self.socket.sendall(head.encode() + b"\r\n" + data)
        reply = b""
        while True:
            reply += self.socket.recv(65536)
            start, mark, rest = reply.partition(b"\r\n\r\n")
            if mark:
                length = int(re.search(rb"(?i)content-length: (\d+)", start)[1])
                if len(rest) >= length:
                    return int(start.split()[1]), rest


def until_members(admin):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status, body = h.get(admin, "/v1/nodes")
        if status == 200 and sum(n["alive"] for n in json.loads(body)["nodes"]) == NODES:
            return
        time.sleep(0.1)
    raise SystemExit("the nodes do not know each other")


def load(servers, key, seconds):
    """Requests at a fixed rate on every node, until the processes are ended."""
    (h.WORK / "facts-key.txt").write_text(key + "\n")
    return [
        subprocess.Popen(h.pinned([
            str(h.SLUICE), "bench", "-c", "8", "-d", f"{seconds}s", "-R", str(RATE), "--quiet", "--json", "-",
            "--keys", str(h.WORK / "facts-key.txt"), f"http://127.0.0.1:{server.port}/"]), stdout=subprocess.DEVNULL)
        for server in servers
    ]


def spread(options):
    """Milliseconds from the request to revoke a key until every node refuses it, and what receipts say, one per revocation."""
    times, receipts = [], []
    with h.upstream() as up, stores.Redis("facts-redis") as redis:
        servers = [node(number, redis, up.port) for number in range(NODES)]
        loads = []
        try:
            for server in servers:
                server.start()
            until_members(servers[0].admin)
            admin = Kept(servers[0].admin)
            made = [json.loads(admin.ask("POST", "/v1/keys?wait=3s", body={"consumer": "app"})[1]) for _ in range(COUNT + 1)]
            connections = [Kept(server.port) for server in servers]
            loads = load(servers, made[-1]["key"], 300)
            time.sleep(2)
            for key in made[:-1]:
                assert all(connection.ask(key=key["key"])[0] == 200 for connection in connections)
                began = time.monotonic()
                admin.socket.sendall(revocation(key["id"]))
                waiting = list(connections)
                while waiting:
                    waiting = [connection for connection in waiting if connection.ask(key=key["key"])[0] != 401]
                times.append((time.monotonic() - began) * 1000)
                receipts.append(receipt(admin))
                h.progress(f"{len(times)} of {COUNT} revocations")
        finally:
            for process in loads:
                process.kill()
                process.wait()
            for server in servers:
                server.stop()
    h.done()
    return sorted(times), sorted(receipts)


def revocation(key):
    body = json.dumps({"kind": "key", "id": key}).encode()
    head = f"POST /v1/revocations?wait=3s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def receipt(admin):
    """What the answer to a revocation says that was already sent."""
    reply = b""
    while b"\r\n\r\n" not in reply or not reply.rstrip().endswith(b"}"):
        reply += admin.socket.recv(65536)
    said = json.loads(reply.partition(b"\r\n\r\n")[2])["receipt"]
    if said["nodes"] != NODES:
        raise SystemExit(f"a receipt of {said}")
    return said["milliseconds"]


def key_goals(found, name):
    return [
        h.goal(f"bytes, {name}", found[f"{name}: resident bytes a key"], 100),
        h.goal(f"ns, in the table, {name}", found[f"{name}: look at the table, ns"], 200),
        h.goal(f"ns, seen before, {name}", found[f"{name}: look-up of a key seen before, ns"], 200),
        h.goal(f"ns, not seen before, {name}", found[f"{name}: look-up of a key not seen before, ns"], 200),
    ]


def run(options):
    if options.peers_only:
        return {}
    figures = {part: cost(part) for part in ["revocations", "keys", "consumers"]}
    times, receipts = spread(options)
    revocations = figures["revocations"]
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    return {
        **figures,
        "revoke": {"p50, ms": times[len(times) // 2], "p99, ms": p99, "receipt p50, ms": float(receipts[len(receipts) // 2])},
        "goals": [
            h.goal("MB, ten million revocations", revocations["revocations, MB"], 70),
            h.goal("ns, not on the list", revocations["not on the list, ns"], 50),
            h.goal("ns, not on the list, one after the other", revocations["not on the list, one after the other, ns"], 50),
            *[goal for part, name in [("keys", "keys of 10,000 consumers"), ("consumers", "keys with a consumer each")]
              for goal in key_goals(figures[part], name)],
            h.goal("ms, revoked until refused on 8 nodes, p99", p99, 50),
        ],
    }
