"""CPU per request of the load generators themselves: `sluice bench` beside wrk, against the same upstream."""

import json
import os
import subprocess

import harness as h


def measured(command):
    """(CPU seconds, standard output) of one run; what the kernel booked, asked for when the child has ended."""
    child = subprocess.Popen(h.pinned(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} failed with {status}: {output[-500:]}")
    return usage.ru_utime + usage.ru_stime, output


def wrk(port, seconds):
    cpu, output = measured(["wrk", "-t1", "-c64", f"-d{seconds}s", f"http://127.0.0.1:{port}/"])
    return cpu * 1e6 / int(output.split(" requests in")[0].split()[-1])


def bench(port, seconds):
    url = f"http://127.0.0.1:{port}/"
    cpu, output = measured([str(h.SLUICE), "bench", "--connections", "64", "--duration", f"{seconds}s", "--quiet", "--json", "-", url])
    return cpu * 1e6 / json.loads(output)["requests"]


def run(options):
    if options.peers_only:
        return {}
    figures = {"wrk": [], "sluice bench": []}
    with h.upstream() as up:
        for number in range(options.rounds):
            figures["wrk"].append(wrk(up.port, options.seconds))
            figures["sluice bench"].append(bench(up.port, options.seconds))
            h.progress(f"round {number + 1}: wrk {figures['wrk'][-1]:.2f} µs, bench {figures['sluice bench'][-1]:.2f} µs")
    h.done()
    ratio = h.ratios(figures, "sluice bench", "wrk")
    return {
        "unit": "CPU µs/request", **{name: h.summary(values) for name, values in figures.items()}, "ratio": ratio,
        "goals": [h.goal("sluice bench/wrk", ratio["median"], 1.0)],
    }
