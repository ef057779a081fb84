"""The hot path at three levels: a node alone, a node whose limit is the cluster's, and a router before three such nodes."""

import harness as h
import stores

LIMIT = {"type": "rate-limit", "limits": [{"per": "ip", "rate": "1000000/s", "burst": 60000000}]}


def run(options):
    if options.peers_only:
        return {}
    h.WORK.mkdir(exist_ok=True)
    with h.upstream() as up, stores.Redis("levels-redis") as redis:
        shared = {"store": f"redis://127.0.0.1:{redis.port}", "cluster": {"name": "levels", "secret": "a secret of thirty-two bytes, say"}}
        apart = {**shared["cluster"], "name": "one"}
        alone = [h.member("level-alone", "run", node(up.port))]
        counted = [h.member("level-counted", "run", {**node(up.port, LIMIT), **shared, "cluster": apart})]
        nodes = [h.member(f"level-behind-{n}", "run", {**node(up.port, LIMIT), **shared}) for n in (1, 2, 3)]
        routed = [h.member("level-routed", "router", shared), *nodes]
        levels = {"node alone": alone, "node, limit of the cluster": counted, "router and three nodes": routed}
        started = []
        try:
            for group in levels.values():
                for server in reversed(group):
                    started.append(server.start())
                h.until_served(group[0].port)
            figures = {name: [] for name in levels}
            latencies = {name: [] for name in levels}
            for number in range(options.rounds + 1):
                for name, group in levels.items():
                    cost, load = cpu(group, options.seconds if number else 2)
                    if number:
                        figures[name].append(cost)
                        latencies[name].append(load.p50)
                        h.progress(f"round {number}/{options.rounds} {name:28} {cost:6.2f} µs")
        finally:
            for server in reversed(started):
                server.stop()
    h.done()
    return {
        "unit": "CPU µs/request, of all processes of the level", "CPU": {name: h.summary(values) for name, values in figures.items()},
        "p50, ms, 64 connections": {name: h.summary(values) for name, values in latencies.items()},
    }


def node(upstream, policy=None):
    route = {"id": "all", "match": {"path": "/*"}, "policies": [policy] if policy else [], "upstream": "bench"}
    return {"upstreams": {"bench": {"endpoints": [f"127.0.0.1:{upstream}"]}}, "routes": [route]}


def cpu(group, seconds):
    before = [server.cpu_nanoseconds() for server in group]
    load = h.wrk(group[0].port, seconds)
    spent = sum(server.cpu_nanoseconds() - was for server, was in zip(group, before))
    if load.errors:
        raise SystemExit(f"{group[0].name}: {load.errors} of {load.requests} requests failed; the figure would mean nothing")
    return spent / 1000 / load.requests, load
