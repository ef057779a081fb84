"""CPU per request of the router over three nodes, least-request: sluice, nginx, haproxy, one worker each."""

import harness as h


def run(options):
    nodes = [h.upstream(name=f"node-{number}") for number in (1, 2, 3)]
    h.WORK.mkdir(exist_ok=True)
    places = {f"NODE{number}": node.port for number, node in enumerate(nodes, 1)}
    routers = [router("nginx-router.conf", ["nginx", "-c"], places), router("haproxy-router.cfg", ["haproxy", "-f"], places)]
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
        result["ratios"] = {
            f"sluice/{peer}": h.ratios(figures, "sluice-router", f"{peer}-router") for peer in ("nginx", "haproxy")}
        result["goals"] = [h.goal("sluice/haproxy", result["ratios"]["sluice/haproxy"]["median"], 0.85)]
    return result


def router(template, command, places):
    port = h.free_port()
    path = h.fill(template, PORT=port, **places)
    return h.Server(path.stem, [*command, str(path)], port)
