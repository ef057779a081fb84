"""CPU time of one route match among 10,000 routes, by itself (no network)."""

import os
import statistics
import subprocess

import harness as h


def run(options):
    if options.peers_only:
        return {}
    command = ["swift", "build", "-c", "release", "--product", "route-match", "--static-swift-stdlib", "--package-path", str(h.ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "BENCHMARK": "1"})
    if built.returncode:
        raise SystemExit(built.stdout[-2000:] + built.stderr[-2000:])
    output = subprocess.run(
        h.pinned([str(h.ROOT / ".build" / "release" / "route-match")]), capture_output=True, text=True, check=True
    ).stdout
    rounds = [float(line) for line in output.split()]
    return {
        "unit": "ns/match", "match": h.summary(rounds),
        "goals": [h.goal("ns, match among 10,000 routes", statistics.median(rounds), 300)],
    }
