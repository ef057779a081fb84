"""Limits that nodes share over a Redis: what they cost, and what a store that is slow, frozen or lost does to requests."""

import harness as h
import quotas_cost


def run(options):
    cost = quotas_cost.per_request(options)
    if options.peers_only:
        return cost
    operations = quotas_cost.operations(options)
    hot = operations["admitted, 1000/s"]["all, a request"]
    return {
        "a request": cost,
        "by rate": quotas_cost.by_rate(options),
        "Redis commands": operations,
        "goals": [
            h.goal("CPU, shared limit / own limit", cost["shared/own"]["median"], 1.10),
            h.goal("CPU, shared limit / nginx with EVALSHA", cost["shared/nginx-lua"]["median"], 0.45),
            h.goal("Redis commands, admitted request of a hot key", hot, 0.02),
            h.goal("Redis commands, refused ones of an exhausted key", operations["refused, 10000/s"]["to decide"], 0),
        ],
    }
