"""CPU per request with a signed token (JWT): RS256 and ES256, remembered and each one new; sluice, haproxy, Envoy, one worker each."""

import base64
import json
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import harness as h
import stores

TOKENS = 1000  # in turn
NEW_TOKENS = 40_000  # in turn, more than twice what a loop remembers: each has been forgotten when it comes again
INVALID = 20_000  # a second, of the flood
RATE = 2000  # requests of others a second, beside the flood
CACHE = f"jwt_cache_config: {{ jwt_cache_size: {TOKENS * 2} }}"  # Envoy's own
ISSUER, AUDIENCE = "https://id.example", "orders"

# Run by the environment that has PyJWT: writes keys and tokens.
MINT = """
import json, pathlib, sys, time, jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
folder, counts = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
for algorithm, count in counts.items():
    key = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{algorithm}.pem").write_bytes(public)
    known = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    (folder / f"{algorithm}.jwks").write_text(json.dumps({"keys": [{"use": "sig", "alg": algorithm, **known, "kid": "one"}]}))
    now = int(time.time())
    with open(folder / f"{algorithm}.tokens", "w") as out:
        for number in range(count):
            said = {"iss": "https://id.example", "aud": "orders", "sub": f"user-{number}", "iat": now, "exp": now + 86400,
                    "jti": f"{number:032x}", "scope": "orders:read orders:write", "email": f"user-{number}@example.com"}
            out.write(jwt.encode(said, key, algorithm, headers={"kid": "one"}) + "\\n")
"""


def prepare():
    """Keys, tokens and the loads with them."""
    counts = {"RS256": NEW_TOKENS, "ES256": TOKENS}
    made = [h.WORK / f"{algorithm}.tokens" for algorithm in counts]
    if not all(path.exists() and time.time() - path.stat().st_mtime < 40_000 for path in made):
        h.progress(f"signing {sum(counts.values())} tokens")
        subprocess.run([h.packages() / "bin/python", "-c", MINT, h.WORK, json.dumps(counts)], check=True)
    for algorithm in counts:
        script(f"{algorithm}.lua", h.WORK / f"{algorithm}.tokens", TOKENS)
    script("new.lua", h.WORK / "RS256.tokens", NEW_TOKENS)


def script(name, tokens, count):
    (h.WORK / name).write_text(
        f'local requests, i = {{}}, 0\ninit = function() for token in io.lines("{tokens}") do if #requests == {count} then break end '
        'requests[#requests + 1] = wrk.format("GET", "/", {Authorization = "Bearer " .. token}) end end\n'
        "request = function() i = i % #requests + 1; return requests[i] end\n")


def sluice(name, algorithm, upstream, **options):
    issuer = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"file": str(h.WORK / f"{algorithm}.jwks")}}
    policy = {"type": "jwt", "issuers": [issuer], "headers": {"X-User": "sub"}, **options}
    route = {"id": "all", "match": {"path": "/*"}, "policies": [policy], "upstream": "bench"}
    return h.member(name, "run", {"upstreams": {"bench": {"endpoints": [f"127.0.0.1:{upstream}"]}}, "routes": [route]})


def haproxy(algorithm, upstream):
    port = h.free_port()
    path = h.fill("haproxy-tokens.cfg", f"haproxy-{algorithm}-{port}", PORT=port, UPSTREAM=upstream, ALGORITHM=algorithm,
                  KEY=h.WORK / f"{algorithm}.pem")
    return h.Server("haproxy", ["haproxy", "-f", str(path)], port)


def envoy(name, upstream, cache=""):
    return h.envoy("tokens", upstream, name, KEYS=h.WORK / "RS256.jwks", CACHE=cache)


def measure(servers, options, lua):
    try:
        for server in servers:
            server.start()
        return h.interleaved(servers, options.rounds, options.seconds, h.WORK / lua)
    finally:
        for server in servers:
            server.stop()


def run(options):
    prepare()
    figures = {}
    with h.upstream() as up:
        rows = {
            "RS256": ([haproxy("RS256", up.port), envoy("envoy", up.port), envoy("envoy-cached", up.port, CACHE)], "RS256.lua"),
            "ES256": ([haproxy("ES256", up.port)], "ES256.lua"),
            "each new": ([haproxy("RS256", up.port)], "new.lua"),
        }
        for name, (servers, lua) in rows.items():
            if not options.peers_only:
                algorithm = "ES256" if name == "ES256" else "RS256"
                servers.append(sluice("sluice", algorithm, up.port))
                if name == "RS256":
                    servers.append(sluice("sluice-uncached", algorithm, up.port, cache=False))
            figures[name] = measure(servers, options, lua)
        added, refused = flood(options, up.port) if not options.peers_only else ([], [])
    h.done()
    result = {name: {"unit": "CPU µs/request", **{server: h.summary(each) for server, each in found.items()}}
              for name, found in figures.items()}
    if options.peers_only:
        return result
    goals = [
        ("RS256", "sluice", "haproxy", 0.40), ("ES256", "sluice", "haproxy", 0.22),
        ("RS256", "sluice", "envoy-cached", 0.45), ("each new", "sluice", "haproxy", 0.75)]
    result["ratios"] = {
        f"{row}: {subject}/{peer}": h.ratios(figures[row], subject, peer) for row, subject, peer, _ in goals}
    result["p99 that the flood adds, ms"] = h.summary(added)
    result["invalid tokens refused a second"] = h.summary(refused)
    result["goals"] = [
        h.goal(f"{row}: {subject}/{peer}", result["ratios"][f"{row}: {subject}/{peer}"]["median"], most)
        for row, subject, peer, most in goals]
    result["goals"].append(h.goal("p99 that 20,000 invalid tokens a second add, ms", statistics.median(added), 1.0))
    return result


def forged():
    """A token whose signature is wrong, and nothing else: the dearest to refuse."""
    head, body, signature = (h.WORK / "RS256.tokens").open().readline().strip().split(".")
    last = bytearray(base64.urlsafe_b64decode(signature + "=="))
    last[-1] ^= 1
    return f"{head}.{body}.{base64.urlsafe_b64encode(bytes(last)).decode().rstrip('=')}"


def flood(options, upstream):
    """Milliseconds of p99, in rounds, that a flood of invalid tokens adds for whoever has a good one."""
    good = (h.WORK / "RS256.tokens").open().readline().strip()
    added, refused = [], []
    with sluice("sluice-flooded", "RS256", upstream) as server:
        def p99():
            found = stores.bench(server, options.seconds, RATE, path="/", headers=[f"Authorization: Bearer {good}"])
            if any(found["errors"].values()):
                raise SystemExit(f"good requests failed beside the flood: {found['errors']}")
            return found["latencyNanoseconds"]["p99"] / 1e6

        p99()
        for number in range(options.rounds):
            calm = p99()
            with ThreadPoolExecutor(1) as pool:
                attack = pool.submit(stores.bench, server, options.seconds + 2, INVALID, path="/", headers=[f"Authorization: Bearer {forged()}"])
                time.sleep(1)
                beside = p99()
                statuses = attack.result()["statuses"]
                refused.append(sum(statuses.get(status, 0) for status in ("401", "429")) / (options.seconds + 2))
            added.append(beside - calm)
            h.progress(f"round {number + 1} p99 {calm:.2f} and {beside:.2f} ms; {refused[-1]:.0f} refused a second")
    return added, refused
