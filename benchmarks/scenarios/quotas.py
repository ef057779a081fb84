"""Limits that nodes share over a Redis: what they cost, and what a store that is busy, frozen or lost does to requests."""

import harness as h
import lanes
import quotas_cost
import quotas_latency
import quotas_outage


def run(options):
    cost = quotas_cost.per_request(options)
    if options.peers_only:
        return cost
    operations = quotas_cost.operations(options)
    hot = operations["admitted, 1000/s"]
    by_rate = quotas_cost.by_rate(options)
    latency = quotas_latency.run(options)
    frozen = {
        "20,000/s, auto": quotas_outage.frozen(20_000, mode="auto"),
        "10,000/s, exact": quotas_outage.frozen(10_000, mode="exact"),
    }
    failover = quotas_outage.failover()
    decisions = lanes.run(options)
    return {
        "a request": cost,
        "CPU µs/request by rate": by_rate,
        "Redis commands": operations,
        "latency of exact decisions": latency,
        "Redis frozen for two seconds": frozen,
        "Redis's primary killed": failover,
        "decisions of a Redis core": decisions,
        "goals": [
            h.goal("CPU, shared limit / own limit", cost["shared/own"]["median"], 1.10),
            h.goal("CPU, shared limit / nginx with EVALSHA", cost["shared/nginx-lua"]["median"], 0.45),
            h.goal("Redis commands, admitted request of a hot key", hot["all, a request"], 0.02),
            h.goal("Redis commands, refused ones of an exhausted key", operations["refused, 10000/s"]["to decide"], 0),
            *latency.pop("goals"),
            *[goal for name, found in frozen.items() for goal in outage(name, found)],
            h.goal("failover, s until the store decides", failover["first by the new primary after s"], 1.0),
            h.goal("failover, 5xx and failed requests", failover["5xx"], 0),
            *decisions.pop("goals"),
        ],
    }


def outage(name, found):
    return [
        h.goal(f"frozen, {name}: p99 added, ms", found["p99 ms added at its worst"], 10),
        h.goal(f"frozen, {name}: later, ms", found["p99 ms added later"], 0.1),
        h.goal(f"frozen, {name}: back after ms", found["first by the store after ms"], 500),
    ]
