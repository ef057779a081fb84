"""Resident memory of an idle node with 10,000 keys and 1,000 routes."""

import harness as h
import many


def run(options):
    if options.peers_only:
        return {}
    with h.upstream() as up, many.server("resident", up.port, routes=1000, keys=10000) as server:
        idle = server.resident_bytes() / 2**20
        h.wrk(server.port, 2, script=many.lua(1000, "resident.lua"))
        served = server.resident_bytes() / 2**20
    return {
        "unit": "MiB resident", "idle after start": idle, "after two seconds of load": served,
        "goals": [h.goal("MiB, idle, 10,000 keys and 1,000 routes", idle, 20)],
    }
