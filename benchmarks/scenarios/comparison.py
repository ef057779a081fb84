"""Sluice beside its peers on the same work, in interleaved rounds."""

import harness as h


def compare(work, options):
    """`work` is "proxy" or "keyed": which configurations of `peers/` are measured against each other."""
    h.write_key_files()
    script = h.WORK / "keys.lua" if work == "keyed" else None
    with h.upstream() as up:
        # What the sockets alone cost: no proxy can be below it.
        servers = [h.nginx(work, up.port), h.haproxy(work, up.port), h.floor(up.port)]
        if not options.peers_only:
            servers.insert(0, h.sluice(work, up.port))
        try:
            for server in servers:
                server.start()
            figures = h.interleaved(servers, options.rounds, options.seconds, script)
            shares = {server.name: round(server.user_share(), 3) for server in servers}
        finally:
            for server in servers:
                server.stop()
    h.done()
    result = {
        "unit": "CPU µs/request",
        "servers": {name: h.summary(values) for name, values in figures.items()},
        "user share": shares,
    }
    if not options.peers_only:
        result["ratios"] = {
            f"sluice/{peer}": h.ratios(figures, f"sluice-{work}", f"{peer}-{work}") for peer in ("nginx", "haproxy")
        }
        result["ratios"]["floor/nginx"] = h.ratios(figures, "floor", f"nginx-{work}")
        result["goals"] = [h.goal("sluice/nginx", result["ratios"]["sluice/nginx"]["median"], 0.80)]
    return result
