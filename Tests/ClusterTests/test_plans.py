"""Usage plans on two nodes: exact limits by plan, a consumer who is moved, tokens that name their plan, and what is owed."""

import hashlib
import json
import re

import pytest

from certificates import Authority
from nodes import WARM, Cluster
from provider import Provider
from support import ask, route, sluice

KEYS = {name: f"key-of-{name}" for name in ("app", "shop", "lost", "poor")}
LIMITS = {"free": 6, "gold": 20}


def consumers(**plans):
    given = {"app": "free", "shop": "gold", "lost": "platinum", "poor": None, **plans}
    return [
        {"id": name, **({"plan": plan} if plan else {}),
         "keys": [{"id": "k", "sha256": hashlib.sha256(KEYS[name].encode()).hexdigest()}]}
        for name, plan in given.items()]


def plans(**options):
    """`free` has six requests an hour and only reads; `gold` has twenty a month, of which five cost nothing."""
    price = {"currency": "EUR", "base": "9.90", "included": 5, "request": "0.025"}
    return {
        "type": "plan", "mode": "exact", "onStoreFailure": "closed",
        "plans": {
            "free": {"limits": [{"per": "consumer", "window": f"{LIMITS['free']}/1h"}], "allow": "method == 'GET'"},
            "gold": {"limits": [{"per": "consumer", "quota": f"{LIMITS['gold']}/month"}], "price": price}},
        **options}


@pytest.fixture
def pair(tmp_path, redis, origin):
    """pair(*policies) starts two nodes on one Redis, with a route of these policies."""
    started = []

    def start(*policies, **options):
        routes = [route("sold", "/sold/*", policies=[*policies, "plans"]), WARM]
        started.append(
            Cluster(
                tmp_path, redis(), origin(), routes, count=2, consumers=consumers(), policies={"plans": plans()},
                **options))
        started[-1].until_up("/warm")
        return started[-1]

    yield start
    for each in started:
        each.close()


def call(node, key=None, token=None, method="GET", path="/sold/x"):
    """Status and problem code of one request."""
    headers = [("X-API-Key", key)] if key else [("Authorization", f"Bearer {token}")] if token else []
    answer = ask(node.port, method, path=path, headers=headers)
    code = re.search(rb"urn:sluice:problem:([a-z-]+)", answer.body)
    return answer.status, code[1].decode() if code else None


def passed(c, count, **caller):
    """How many of so many requests pass, on both nodes in turn; all others are refused by a limit."""
    answers = [call(c.nodes[number % 2], **caller) for number in range(count)]
    assert set(answers) <= {(200, None), (429, "rate-limited")}, answers
    return answers.count((200, None))


def usage(c, consumer, node=0):
    done = sluice("usage", "--json", "--admin", f"127.0.0.1:{c.nodes[node].admin}", consumer)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_limits_of_plans_are_exact_over_both_nodes_and_callers_without_one_are_refused(pair):
    c = pair({"type": "api-key", "optional": True})
    for node in c.nodes:
        assert call(node) == (403, "plan-required")
        assert call(node, KEYS["poor"]) == (403, "plan-required")
        assert call(node, KEYS["lost"]) == (403, "plan-unknown")
        assert call(node, KEYS["app"], method="POST") == (403, "plan-forbids")
    assert not [each for each in c.up.requests if each.target.startswith("/sold")]
    assert passed(c, 15, key=KEYS["app"]) == LIMITS["free"]
    assert passed(c, 30, key=KEYS["shop"]) == LIMITS["gold"]
    # What the rule has refused was not counted.
    for number in range(2):
        limits = usage(c, "app", number)["limits"]
        mine = [(limit["used"], limit["limit"]) for limit in limits if limit["policy"] == "plans:free"]
        assert mine == [(6, 6)]


def test_a_consumer_who_is_moved_has_the_other_plan_on_both_nodes(pair, tmp_path):
    c = pair({"type": "api-key"})
    assert passed(c, 10, key=KEYS["app"]) == LIMITS["free"]
    content = c.content(0, [route("sold", "/sold/*", policies=[{"type": "api-key"}, "plans"]), WARM])
    path = tmp_path / "moved.json"
    path.write_text(json.dumps({**content, "consumers": consumers(app="gold")}))
    admin = f"127.0.0.1:{c.nodes[1].admin}"
    planned = sluice("plan", "--admin", admin, path)
    assert planned.returncode == 0 and "has the plan \"gold\" instead of the plan \"free\"" in planned.stdout, planned
    done = sluice("apply", "--admin", admin, "--wait", path)
    assert done.returncode == 0, done.stderr
    assert passed(c, 30, key=KEYS["app"]) == LIMITS["gold"]
    # The former counter is as it was.
    path.write_text(json.dumps({**content, "consumers": consumers(app="free")}))
    done = sluice("apply", "--admin", admin, "--wait", path)
    assert done.returncode == 0, done.stderr
    assert passed(c, 2, key=KEYS["app"]) == 0


def test_a_claim_of_a_token_chooses_the_plan(pair, tmp_path):
    authority = Authority(tmp_path)
    p = Provider(authority)
    issuer = {
        "issuer": p.issuer, "audiences": ["orders"], "ca": {"file": str(authority.certificate)},
        "claims": {"plan": "subscription.plan"}}
    try:
        c = pair({"type": "jwt", "issuers": [issuer]})
        for node in c.nodes:
            assert call(node, token=p.token("ann")) == (403, "plan-required")
            assert call(node, token=p.token("ann", subscription={"plan": "platinum"})) == (403, "plan-unknown")
            assert call(node, token=p.token("ann", subscription={"plan": ["gold"]})) == (403, "plan-required")
        free, gold = (p.token("ann", subscription={"plan": plan}) for plan in ("free", "gold"))
        assert call(c.nodes[0], token=free, method="POST") == (403, "plan-forbids")
        assert passed(c, 12, token=free) == LIMITS["free"]
        assert passed(c, 30, token=gold) == LIMITS["gold"]
        assert passed(c, 12, token=p.token("bob", subscription={"plan": "free"})) == LIMITS["free"]
    finally:
        p.close()


def test_usage_tells_the_plan_and_what_is_owed(pair):
    c = pair({"type": "api-key"})
    for _ in range(2):
        assert [call(node, KEYS["shop"]) for node in c.nodes] == [(200, None)] * 2
    assert [plan["charge"]["amount"] for plan in usage(c, "shop")["plans"]] == ["9.900"]
    assert passed(c, 5, key=KEYS["shop"]) == 5
    own = [
        ask(node.port, path="/.sluice/usage", headers=[("X-API-Key", KEYS["shop"])]).json() for node in c.nodes]
    for document in (*own, usage(c, "shop", 0), usage(c, "shop", 1)):
        (plan,) = document["plans"]
        assert plan["name"] == "gold" and plan["policy"] == "plans"
        assert plan["price"] == {"currency": "EUR", "base": "9.90", "included": 5, "request": "0.025"}
        charge = plan["charge"]
        assert (charge["amount"], charge["currency"], charge["requests"]) == ("10.000", "EUR", 9)
        assert re.fullmatch(r"\d{4}-\d\d-01T00:00:00Z", charge["since"])
    done = sluice("usage", "--admin", f"127.0.0.1:{c.nodes[0].admin}", "shop")
    assert "plan gold of plans: 10.000 EUR since " in done.stdout and ", for 9 requests" in done.stdout
    assert usage(c, "poor").get("plans") is None
    (free,) = usage(c, "app")["plans"]
    assert (free["name"], free["price"], free["charge"]) == ("free", None, None)


def test_keys_of_their_own_consumers_have_the_plan_that_they_were_made_with(pair):
    c = pair({"type": "api-key"})
    admin = ["--admin", f"127.0.0.1:{c.nodes[0].admin}"]
    assert sluice("keys", "create", "--consumer", "app", "--plan", "gold", *admin).returncode == 2
    assert sluice("keys", "create", "--consumer", "new", "--own", "--plan", "a b", *admin).returncode != 0
    for plan, limit in LIMITS.items():
        done = sluice("keys", "create", "--json", "--consumer", f"new-{plan}", "--own", "--plan", plan, *admin)
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        assert made["plan"] == plan
        assert passed(c, 30, key=made["key"]) == limit
        assert [each["name"] for each in usage(c, f"new-{plan}")["plans"]] == [plan]
    # A key of the file's consumer has that one's plan.
    done = sluice("keys", "create", "--json", "--consumer", "app", *admin)
    assert passed(c, 12, key=json.loads(done.stdout)["key"]) == LIMITS["free"]
