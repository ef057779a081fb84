"""Reload of 10,000 routes under load: what the requests of that time notice, and that none is lost.

Open loop at a rate that one core holds easily, latency from when a request was due: a pause of milliseconds shows, and so does
every request behind it. Runs with a reload every second stand beside runs without, in turn.
"""

import json
import os
import signal
import statistics
import subprocess
import threading

import harness as h
import many

ROUTES = 10000
RATE = 2000


def revisions(server, upstream_port):
    """Two files that differ, made before anything is measured."""
    made = []
    for number in range(2):
        file = server.file.with_suffix(f".{number}")
        file.write_text(many.configuration(server.port, upstream_port, ROUTES, comment=f"revision {number}"))
        made.append(file)
    return made


def reload_every_second(server, files, stop):
    number = 0
    while not stop.wait(1.0):
        number += 1
        temporary = server.file.with_suffix(".swap")
        temporary.unlink(missing_ok=True)
        os.link(files[number % 2], temporary)
        temporary.rename(server.file)
        server.signal(signal.SIGHUP)


def load(server, urls, seconds, files=None):
    stop = threading.Event()
    thread = threading.Thread(target=reload_every_second, args=(server, files, stop))
    if files:
        thread.start()
    command = [
        str(h.SLUICE), "bench", "--rate", str(RATE), "--connections", "32", "--duration", f"{seconds}s", "--quiet",
        "--urls", str(urls), "--json", "-", f"http://127.0.0.1:{server.port}",
    ]
    done = subprocess.run(h.pinned(command), capture_output=True, text=True)
    stop.set()
    if files:
        thread.join()
    if not done.stdout:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def run(options):
    if options.peers_only:
        return {}
    urls = h.WORK / "reload-urls.txt"
    urls.write_text("".join(many.url(i) + "\n" for i in range(ROUTES)))
    quiet, reloading, failed, requests = [], [], 0, 0
    with h.upstream() as up, many.server("reload", up.port, ROUTES, cores=h.CORES) as server:
        files = revisions(server, up.port)
        load(server, urls, 1)
        for number in range(options.rounds):
            for changes, into in ((None, quiet), (files, reloading)):
                found = load(server, urls, options.seconds, changes)
                into.append(found["latencyNanoseconds"]["p99"] / 1e6)
                failed += found["requests"] - found["statuses"].get("200", 0)
                requests += found["requests"]
            h.progress(f"round {number + 1}: p99 {quiet[-1]:.2f} ms, reloading {reloading[-1]:.2f} ms")
    h.done()
    added = statistics.median(reloading) - statistics.median(quiet)
    return {
        "unit": "ms p99", "quiet": h.summary(quiet), "reload every second": h.summary(reloading),
        "requests": requests, "failed": failed,
        "goals": [h.goal("ms added to p99", added, 1.0), h.goal("requests dropped", failed, 0)],
    }
