"""CPU per request of the router over three nodes, least-request: sluice beside haproxy, one thread each."""

import harness as h


def run(options):
    nodes = [h.upstream(name=f"node-{number}") for number in (1, 2, 3)]
    h.WORK.mkdir(exist_ok=True)
    places = {f"NODE{number}": node.port for number, node in enumerate(nodes, 1)}
    routers = [router("haproxy-router.cfg", ["haproxy", "-f"], places)]
    if not options.peers_only:
        routers.insert(0, router("sluice-router.json", [str(h.SLUICE), "router", "-c"], places))
    started = []
    try:
        for server in nodes + routers:
            started.append(server.start())
        figures = h.interleaved(routers, options.rounds, options.seconds)
    finally:
        for server in reversed(started):
            server.stop()
    h.done()
    result = {"unit": "CPU µs/request", "servers": {name: h.summary(values) for name, values in figures.items()}}
    if not options.peers_only:
        ratio = h.ratios(figures, "sluice-router", "haproxy-router")
        result["ratios"] = {"sluice/haproxy": ratio}
        result["goals"] = [h.goal("sluice/haproxy", ratio["median"], 0.85)]
    return result


def router(template, command, places):
    port = h.free_port()
    path = h.fill(template, PORT=port, **places)
    return h.Server(path.stem, [*command, str(path)], port)
