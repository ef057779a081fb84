"""What 10,000 routes cost a request: CPU more than with the one route `/*`, for the same 10,000 paths in turn.

More than the match itself: each route has its own counters, and 10,000 of them in turn miss the cache every time.
"""

import harness as h
import many

ROUTES = 10000


def run(options):
    if options.peers_only:
        return {}
    script = many.lua(ROUTES, "routes.lua")
    with h.upstream() as up, many.server("one-route", up.port, 0) as one, many.server("routes", up.port, ROUTES) as all_:
        figures = h.interleaved([one, all_], options.rounds, options.seconds, script)
    h.done()
    extra = [(b - a) * 1000 for a, b in zip(figures["one-route"], figures["routes"])]
    return {"unit": "ns more per request", "difference": h.summary(extra)}
