"""CPU per request as loops, routes, keys and connections grow."""

import harness as h
import many

ROUTES = [1, 100, 1000, 10_000]
KEYS = [1, 1000, 10_000, 100_000]
CONNECTIONS = [1, 16, 64, 512, 2048]
LOOPS = [1, 2, 4]


def run(options):
    if options.peers_only:
        return {}
    h.write_key_files()
    rounds = max(1, options.rounds // 2)
    found = {"unit": "CPU µs/request"}
    with h.upstream() as up:
        found["routes"] = grow(
            {count: many.server(f"scaling-routes-{count}", up.port, count) for count in ROUTES}, rounds, options.seconds,
            lambda count, port: h.wrk(port, options.seconds, script=many.lua(count, f"scaling-{count}.lua")))
        found["keys"] = grow(
            {count: many.server(f"scaling-keys-{count}", up.port, 0, keys=count) for count in KEYS}, rounds, options.seconds,
            lambda count, port: h.wrk(port, options.seconds))
        with many.server("scaling-connections", up.port, 0) as one:
            found["connections"] = {
                str(count): h.summary([
                    spent(one, lambda: h.wrk(one.port, options.seconds, connections=count)) for _ in range(rounds)])
                for count in CONNECTIONS}
        found["loops"] = grow({count: looped(count, up.port) for count in LOOPS}, rounds, options.seconds,
                              lambda count, port: h.wrk(port, options.seconds))
    h.done()
    return found


def looped(count, upstream):
    server = many.server(f"scaling-loops-{count}", upstream, 0, cores=h.CORES)
    server.file.write_text(server.file.read_text().replace("threads: 1", f"threads: {count}"))
    return server


def grow(servers, rounds, seconds, load):
    """Interleaved over all sizes; the result by size."""
    figures = {count: [] for count in servers}
    started = []
    try:
        for server in servers.values():
            started.append(server.start(60))
        for number in range(rounds):
            for count, server in servers.items():
                figures[count].append(spent(server, lambda: load(count, server.port)))
                h.progress(f"round {number + 1}/{rounds} {server.name:24} {figures[count][-1]:6.2f} µs")
    finally:
        for server in started:
            server.stop()
    return {str(count): h.summary(values) for count, values in figures.items()}


def spent(server, load):
    before = server.cpu_nanoseconds()
    done = load()
    return (server.cpu_nanoseconds() - before) / 1000 / done.requests
