"""HTTP/2 to clients and HTTP/1.1 to the upstream, beside haproxy: CPU per request with 32 streams on each connection."""

import re
import subprocess

import harness as h

STREAMS = 32
CONNECTIONS = (1, 16)


def cost(server, connections, seconds):
    """CPU microseconds for each request."""
    before = server.cpu_nanoseconds()
    output = subprocess.run(
        h.pinned(["h2load", f"-D{seconds}", f"-c{connections}", f"-m{STREAMS}", "-t1", f"http://127.0.0.1:{server.port}/"]),
        capture_output=True, text=True, check=True, timeout=seconds + 60,
    ).stdout
    spent = server.cpu_nanoseconds() - before
    counts = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    done, succeeded, failed, errored = map(int, counts.groups())
    if not done or succeeded != done or failed or errored or "Application protocol: h2c" not in output:
        raise SystemExit(f"{server.name}: requests failed\n{output[-800:]}")
    return spent / 1000 / done


def run(options):
    with h.upstream() as up:
        servers = [h.haproxy("http2", up.port)]
        if not options.peers_only:
            servers.insert(0, h.sluice("http2", up.port))
        figures = {f"{count} x {STREAMS} streams": {server.name: [] for server in servers} for count in CONNECTIONS}
        try:
            for server in servers:
                server.start()
                cost(server, CONNECTIONS[-1], 1)
            for number in range(options.rounds):
                for (name, load), count in zip(figures.items(), CONNECTIONS):
                    for server in servers:
                        load[server.name].append(cost(server, count, options.seconds))
                        h.progress(f"round {number + 1}/{options.rounds} {name} {server.name:16} {load[server.name][-1]:6.2f} µs")
        finally:
            for server in servers:
                server.stop()
    h.done()
    result = {f"CPU µs/request, {name}": {who: h.summary(each) for who, each in load.items()} for name, load in figures.items()}
    if not options.peers_only:
        ratios = {name: h.ratios(load, "sluice-http2", "haproxy-http2") for name, load in figures.items()}
        result["ratios sluice/haproxy"] = ratios
        result["goals"] = [h.goal(f"CPU per request, sluice/haproxy, {name}", each["median"], 0.75) for name, each in ratios.items()]
    return result
