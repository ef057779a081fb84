"""What a limit that all nodes share costs a request: CPU beside the node's own limit and beside nginx that asks Redis each time,
and the commands that Redis is sent."""

import statistics
import time

import harness as h
import stores

# Nobody is refused: a thousand a second for each key, and a minute's worth at once.
AMPLE = '{ per: "key", rate: "1000/s", burst: 60000 }'
HOT = '{ per: "key", rate: "100000/s", burst: 6000000 }'
SCARCE = '{ per: "key", window: "1000/1h" }'


def nginx(redis, upstream_port, unit=1000):
    """Asks Redis about each request: for each key one every `unit` microseconds, and a minute's worth at once."""
    script = redis.ask("SCRIPT", "LOAD", (h.PEERS / "gcra.lua").read_bytes()).decode()
    port = h.free_port()
    path = h.fill("nginx-quota.conf", PORT=port, UPSTREAM=upstream_port, REDIS=redis.port, SCRIPT=script, UNIT=unit)
    return h.Server("nginx-lua", ["nginx", "-c", str(path)], port)


def per_request(options):
    """CPU of the same route, 1,000 keys in turn, as fast as 64 connections go: the limit shared, the node's own, nginx."""
    h.write_key_files()
    with h.upstream() as up, stores.Redis("quotas-redis") as redis:
        servers = [nginx(redis, up.port)]
        if not options.peers_only:
            shared = stores.node("quota-shared", redis, up.port, AMPLE)
            servers = [stores.node("quota-own", None, up.port, AMPLE), shared, *servers]
        try:
            for server in servers:
                server.start()
            # Each server is warm again before each of its rounds: leases are given back while the others have theirs.
            figures = h.interleaved(servers, options.rounds, options.seconds, h.WORK / "keys.lua", warm=1)
            result = {"CPU µs/request": {name: h.summary(values) for name, values in figures.items()}}
            if not options.peers_only:
                result["shared limit, warm-ups included"] = account(shared)
                result["shared/own"] = h.ratios(figures, "quota-shared", "quota-own")
                result["shared/nginx-lua"] = h.ratios(figures, "quota-shared", "nginx-lua")
        finally:
            for server in servers:
                server.stop()
    h.done()
    return result


def account(server):
    """What a node did to decide: by whom, and what Redis was asked for each request."""
    decided = stores.decisions(server)
    return {
        "decided": stores.shares(decided),
        **{
            f"{what} to Redis a request": stores.metric(server, f"sluice_quota_store_{what}_total")[""] / sum(decided.values())
            for what in ("calls", "items")
        },
    }


def by_rate(options):
    """The same in an open loop, at rates where keys are cold (asked about one by one), warm and hot."""
    cases = [(2000, 1000), (10_000, 1000), (10_000, 100), (10_000, 1)]
    result = {}
    h.write_key_files()
    with h.upstream() as up, stores.Redis("quotas-redis") as redis:
        shared = stores.node("quota-shared", redis, up.port, HOT)
        servers = [stores.node("quota-own", None, up.port, HOT), shared, nginx(redis, up.port, 10)]
        try:
            for server in servers:
                server.start()
            for rate, keys in cases:
                counts = stores.decisions(shared)
                costs = {server.name: [] for server in servers}
                for _ in range(2):
                    for server in servers:
                        costs[server.name].append(open_loop(server, rate, keys))
                h.progress(f"{rate}/s over {keys} keys")
                result[f"{rate}/s over {keys} keys"] = {
                    **{name: statistics.median(values) for name, values in costs.items()},
                    "decided": stores.shares(stores.difference(stores.decisions(shared), counts)),
                }
        finally:
            for server in servers:
                server.stop()
    h.done()
    return result


def open_loop(server, rate, keys):
    """Microseconds of CPU for each request at a rate that is held, a second of warm-up before."""
    stores.bench(server, 1, rate, keys)
    before = server.cpu_nanoseconds()
    load = stores.bench(server, 2, rate, keys)
    if load["statusClasses"]["2xx"] < load["requests"]:
        raise SystemExit(f"{server.name}: {load['statuses']}, {load['errors']}; the figure would mean nothing")
    return (server.cpu_nanoseconds() - before) / 1000 / load["requests"]


def commands(redis, nodes, work):
    """What clients of Redis sent while `work` ran: all commands, and those by which nodes decided; the rest is their heartbeat."""

    def sent():
        return sum(redis.calls().values()), sum(stores.metric(node, "sluice_quota_store_calls_total")[""] for node in nodes)

    before = sent()
    answer = work()
    time.sleep(0.5)  # metrics of it may be a moment old
    after = sent()
    return answer, after[0] - before[0], after[1] - before[1]


def operations(options):
    """Redis commands for requests of one hot key, and for those refused once it is exhausted."""
    result = {}
    with h.upstream() as up, stores.Redis("quotas-redis") as redis:
        hot = stores.node("quota-hot", redis, up.port, HOT)
        scarce = stores.node("quota-scarce", redis, up.port, SCARCE)
        with hot, scarce:
            for rate in (1000, 10_000):
                stores.bench(hot, 1, rate, 1)
                load, every, deciding = commands(redis, [hot, scarce], lambda: stores.bench(hot, 5, rate, 1))
                result[f"admitted, {rate}/s"] = {
                    "requests": load["requests"], "all commands": every, "to decide": deciding,
                    "to decide, a request": deciding / load["requests"], "all, a request": every / load["requests"],
                }
            load, every, deciding = commands(redis, [hot, scarce], lambda: stores.bench(scarce, 2, 5000, 1))
            result["while it runs out"] = {"statuses": str(load["statuses"]), "all commands": every, "to decide": deciding}
            load, every, deciding = commands(redis, [hot, scarce], lambda: stores.bench(scarce, 5, 10_000, 1))
            refused = load["statuses"].get("429", 0)
            if refused != load["responses"]:
                raise SystemExit(f"an exhausted key was not refused each time: {load['statuses']}")
            result["refused, 10000/s"] = {"requests": refused, "all commands": every, "to decide": deciding}
    return result
