"""`sluice check`: every error in one pass, each with its place and a way out; good files are fine and run."""

import json
import re

import pytest

from support import ROOT, Gateway, ask, free_port, sluice

# Each file with what its complaints must name: (line, a word) for every error in it.
BROKEN = {
    "an unknown key": ("""{
  listeners: [{ address: "127.0.0.1:8080" }],
  upstreems: {},
  routes: [],
}""", [(3, "upstreams")]),
    "not JSON at all": ("""{
  routes: [ { id: "a" ]
}""", [(2, "")]),
    "a missing comma": ("""{
  accessLog: "off"
  routes: [],
}""", [(3, "")]),
    "a route to an upstream that is not there": ("""{
  upstreams: { orders: { endpoints: ["127.0.0.1:9001"] } },
  routes: [
    { id: "a", match: { path: "/a" }, upstream: "order" },
  ],
}""", [(4, "orders")]),
    "a policy that is not there": ("""{
  upstreams: { o: { endpoints: ["127.0.0.1:9001"] } },
  policies: { "fair-use": { type: "rate-limit", limits: [{ per: "ip", rate: "1/s" }] } },
  routes: [
    { id: "a", match: { path: "/a" }, upstream: "o",
      policies: ["fair-uze"] },
  ],
}""", [(6, "fair-use")]),
    "a policy type that is not there": ("""{
  policies: { p: { type: "rate-limits" } },
}""", [(2, "rate-limit")]),
    "several errors in one file": ("""{
  node: { threads: -1 },
  listeners: [{ address: "127.0.0.1:99999" }],
  upstreams: { o: { endpoints: ["127.0.0.1:9001"], balance: "least-requests" } },
  routes: [
    { id: "a", match: { path: "a" }, upstream: "o" },
    { id: "a", match: { path: "/b" }, upstream: "o" },
  ],
}""", [(2, "threads"), (3, "address"), (4, "least-request"), (6, "/"), (7, "a")]),
    "a key digest that is none": ("""{
  consumers: [
    { id: "c", keys: [{ id: "k", sha256: "secret" }] },
  ],
}""", [(3, "64")]),
    "a duration without a unit and a size with a wrong one": ("""{
  upstreams: { o: { endpoints: ["127.0.0.1:9001"],
    timeouts: { connect: 5 } } },
  node: { limits: {
    body: "10 potatoes" } },
}""", [(3, "connect"), (5, "body")]),
    "two routes for the same requests": ("""{
  upstreams: { o: { endpoints: ["127.0.0.1:9001"] } },
  routes: [
    { id: "a", match: { path: "/same" }, upstream: "o" },
    { id: "b", match: { path: "/same" }, upstream: "o" },
  ],
}""", [(5, "a")]),
    "an environment variable that is not set": ("""{
  admin: { address: "127.0.0.1:9901",
    tokens: [{ name: "ops", role: "admin", token: { env: "SLUICE_TEST_IS_NOT_SET" } }] },
}""", [(3, "SLUICE_TEST_IS_NOT_SET")]),
    "a wrong type and a wrong limit": ("""{
  upstreams: { o: { endpoints: "127.0.0.1:9001" } },
  policies: { p: { type: "rate-limit", limits: [
    { per: "ip", rate: "fast" },
    { per: "planet", rate: "1/s" },
  ] } },
}""", [(2, "endpoints"), (4, "fast"), (5, "planet")]),
    "a time zone that is none": ("""{
  policies: { p: { type: "rate-limit", limits: [
    { per: "ip", quota: "10/day", timezone: "Europe/Berln" } ] } },
}""", [(3, "Berln")]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_error_is_named_with_its_place(tmp_path, name):
    text, expected = BROKEN[name]
    file = tmp_path / "sluice.json"
    file.write_text(text)
    done = sluice("check", file)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    for line, word in expected:
        matching = [l for l in lines if re.search(rf"sluice\.json:{line}:\d+: ", l)]
        assert any(word in l for l in matching), f"line {line} with {word!r} is not in:\n{done.stderr}"
        assert all(";" in l for l in matching), f"no way out in:\n{done.stderr}"


def test_a_file_that_is_not_there(tmp_path):
    done = sluice("check", tmp_path / "nothing.json")
    assert done.returncode == 1 and "nothing.json" in done.stderr


CONTRACT = """
{
  node: { threads: 0 },                                    // 0: one event loop per core
  listeners: [
    { address: "127.0.0.1:%(port)d" },
  ],
  accessLog: "stdout",                                     // "stdout" | "off" | { file: "access.log" }; JSON lines
  admin: { address: "127.0.0.1:%(admin)d", tokens: [{ name: "ops", role: "admin", token: { env: "SLUICE_ADMIN_TOKEN" } }] },

  upstreams: {
    orders: {
      endpoints: ["127.0.0.1:%(one)d", { address: "127.0.0.1:%(two)d", weight: 2 }, "unix:/run/orders.sock"],
      balance: "least-request",                            // round-robin | least-request | latency | consistent-hash | random
      health: { path: "/healthz", interval: "5s" },
      ejection: { consecutiveFailures: 5, baseTime: "30s", maxPercent: 50 },
      retries: { attempts: 2, on: ["connect-failure", "reset", "503"], budgetPercent: 20 },
      timeouts: { connect: "1s", response: "15s" },
    },
  },

  tenants: [{ id: "acme" }],
  consumers: [
    { id: "mobile-app", tenant: "acme", groups: ["gold"],
      keys: [{ id: "k1", sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }] },
  ],

  policies: {
    "partner-key": { type: "api-key", header: "X-API-Key" },
    "fair-use": { type: "rate-limit", limits: [
      { per: "consumer", rate: "100/s", burst: 200 },      // GCRA
      { per: "consumer", quota: "100000/day", timezone: "Europe/Berlin" },   // calendar quota
      { per: "tenant", window: "20000/1m" },               // fixed window; algorithm: "sliding" for sliding
    ], mode: "auto", onStoreFailure: "local" },            // mode: auto | exact | leased; failure: local | open | closed
  },

  routes: [
    { id: "orders-v1",
      match: { host: "api.example.com", path: "/v1/orders/*", methods: ["GET", "POST"] },
      policies: ["partner-key", "fair-use"],               // names, or policy objects in place
      rewrite: { stripPrefix: "/v1" },
      upstream: "orders" },
  ],
}
"""


def test_the_contracts_example_is_fine_and_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_ADMIN_TOKEN", "a-token-of-the-contract")
    port, admin = free_port(), free_port()
    g = Gateway(tmp_path, CONTRACT % {"port": port, "admin": admin, "one": free_port(), "two": free_port()}, port=port, admin=admin)
    done = sluice("check", g.file)
    assert done.returncode == 0, done.stderr
    g.start(wait=False)
    with g:
        from support import accepts, until

        until(lambda: accepts(port), g.said() or "it listens")
        assert ask(port, path="/v1/orders/1", host="api.example.com").status == 401
        admitted = ask(port, path="/v1/orders/1", host="api.example.com", headers=[("X-API-Key", "test")])
        assert admitted.status in (502, 503)  # nobody is behind it here
        assert ask(port, path="/v1/orders/1", host="other").status == 404


@pytest.mark.parametrize("file", sorted(p.name for p in (ROOT / "cluster" / "config").glob("*.json")))
def test_reference_configurations_are_fine(file, monkeypatch):
    monkeypatch.setenv("SLUICE_ADMIN_TOKEN", "a-token-of-the-reference")
    done = sluice("check", ROOT / "cluster" / "config" / file)
    assert done.returncode == 0, done.stderr


def test_the_schema_is_json_schema_and_knows_every_policy():
    schema = json.loads(sluice("schema").stdout)
    assert "json-schema.org" in schema["$schema"]
    text = json.dumps(schema)
    for policy in ("api-key", "rate-limit", "ip-filter", "cors", "headers", "body-limit", "respond"):
        assert f'"{policy}"' in text


def test_policies_are_listed_and_described():
    listing = sluice("policies").stdout
    for policy in ("api-key", "rate-limit", "ip-filter", "cors", "headers", "body-limit", "respond"):
        assert policy in listing
        described = sluice("policies", policy)
        assert described.returncode == 0 and len(described.stdout.splitlines()) > 3
    assert json.loads(sluice("policies", "--json").stdout)


@pytest.mark.parametrize("verb", ["run", "check", "schema", "policies", "echo", "bench"])
def test_every_verb_has_help_with_an_example(verb):
    done = sluice(verb, "--help")
    assert done.returncode == 0 and f"sluice {verb}" in done.stdout and "example" in done.stdout.lower()


def test_wrong_usage_is_exit_status_2():
    assert sluice("chek").returncode == 2
    assert "check" in sluice("chek").stderr
    assert sluice("check", "--nonsense").returncode == 2
    assert sluice("--version").returncode == 0


def test_what_a_cluster_gets_can_be_checked_without_the_sections_of_a_node(tmp_path):
    path = tmp_path / "revision.json"
    path.write_text('{ upstreams: { a: { endpoints: ["127.0.0.1:9001"] } }, routes: [{ id: "r", match: { path: "/" }, upstream: "a" }] }')
    result = sluice("check", path)
    assert (result.returncode, result.stdout) == (0, f"{path}: fine, for a cluster, 1 route, 1 upstream, 0 consumers, 0 keys\n")
