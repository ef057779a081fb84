"""Reload of 10,000 routes under load: what the requests of that time notice, and that none is lost.

Three generators' worth of one second each would hide a pause of milliseconds in an average; so the p99 of whole runs
with a reload every second is set beside runs without, in turn.
"""

import signal
import statistics
import threading
import time

import harness as h
import many

ROUTES = 10000


def load(server, script, seconds, reloads):
    stop = threading.Event()

    def reload():
        number = 0
        while not stop.wait(1.0):
            number += 1
            upstream_port = server.upstream_port
            server.file.write_text(many.configuration(server.port, upstream_port, ROUTES, comment=f"revision {number}"))
            server.signal(signal.SIGHUP)

    thread = threading.Thread(target=reload)
    if reloads:
        thread.start()
    found = h.wrk(server.port, seconds, connections=16, script=script)
    stop.set()
    if reloads:
        thread.join()
    return found


def run(options):
    if options.peers_only:
        return {}
    script = many.lua(ROUTES, "reload.lua")
    quiet, reloading, errors, requests = [], [], 0, 0
    with h.upstream() as up, many.server("reload", up.port, ROUTES, cores=h.CORES) as server:
        server.upstream_port = up.port
        h.wrk(server.port, 1, script=script)
        for number in range(options.rounds):
            for reloads, into in ((False, quiet), (True, reloading)):
                found = load(server, script, options.seconds, reloads)
                into.append(found.p99)
                errors, requests = errors + found.errors, requests + found.requests
            h.progress(f"round {number + 1}: p99 {quiet[-1]:.2f} ms, reloading {reloading[-1]:.2f} ms")
    h.done()
    added = statistics.median(reloading) - statistics.median(quiet)
    return {
        "unit": "ms p99", "quiet": h.summary(quiet), "reload every second": h.summary(reloading),
        "requests": requests, "failed": errors,
        "goals": [h.goal("ms added to p99", added, 1.0), h.goal("requests dropped", errors, 0)],
    }
