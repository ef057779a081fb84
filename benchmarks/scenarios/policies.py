"""What each policy costs alone: instructions and CPU of a request more than on the same route without any."""

import counts
import harness as h

# Each as a file would have it; what it does with a request that it lets pass.
POLICIES = {
    "api-key": {"type": "api-key"},
    "rate-limit, per address": {"type": "rate-limit", "limits": [{"per": "ip", "rate": "1000000/s", "burst": 60000000}]},
    "rate-limit, two levels": {
        "type": "rate-limit",
        "limits": [{"per": "ip", "rate": "1000000/s", "burst": 60000000}, {"per": "route", "window": "100000000/1h"}]},
    "concurrency, per address": {"type": "rate-limit", "limits": [{"per": "ip", "concurrency": 10000}]},
    "ip-filter": {"type": "ip-filter", "allow": ["127.0.0.0/8", "10.0.0.0/8"]},
    "cors": {"type": "cors", "origins": ["https://example.com"]},
    "headers": {"type": "headers", "request": {"set": {"X-Team": "orders"}}, "response": {"remove": ["Server"]}},
    "access, five terms": {
        "type": "access",
        "allow": "method in ['GET', 'HEAD'] and not path matches '/internal/*' and address in ['10.0.0.0/8', '127.0.0.0/8'] "
                 "and host != 'old.example' and weekday in ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']"},
    "body-limit": {"type": "body-limit", "limit": "1MiB"},
}


def run(options):
    if options.peers_only:
        return {}
    h.write_key_files()
    with h.upstream() as up:
        instructions, servers = {}, []
        for name, policy in {"none": None, **POLICIES}.items():
            h.progress(f"{name}: instructions")
            instructions[name] = counts.instructions(lambda prefix: server(name, policy, up.port, prefix), "keyed")
            servers.append(server(name, policy, up.port))
        started = []
        try:
            for each in servers:
                started.append(each.start())
            figures = h.interleaved(servers, options.rounds, options.seconds, h.WORK / "keys.lua")
        finally:
            for each in started:
                each.stop()
    h.done()
    bare = instructions["none"]
    return {
        "unit": "more than without any policy", "instructions of a request without": bare,
        "instructions": {name: round(count - bare) for name, count in instructions.items() if name != "none"},
        "CPU, ns": {
            name: h.summary([(a - b) * 1000 for a, b in zip(figures[name], figures["none"])]) for name in POLICIES},
    }


def server(name, policy, upstream, prefix=()):
    route = {"id": "all", "match": {"path": "/*"}, "policies": [policy] if policy else [], "upstream": "bench"}
    consumers = [{"id": f"c{i}", "keys": [{"id": f"k{i}", "sha256": h.digest(h.key(i))}]} for i in range(h.KEYS)]
    made = h.member(f"policy-{name.replace(' ', '-').replace(',', '')}", "run", {
        "consumers": consumers, "upstreams": {"bench": {"endpoints": [f"127.0.0.1:{upstream}"]}}, "routes": [route]}, prefix)
    made.name = name
    return made
