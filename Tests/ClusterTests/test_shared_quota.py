"""Limits that three nodes share in one Redis: exact while it answers, bounded and quick while it does not."""

import time

import pytest

from nodes import SECRET, WARM, limited
from support import Gateway, configuration, connect, until

# The longest that a request may take while Redis is away: the deadline of a decision and a good deal for a busy machine, which
# may all the same let one in a hundred wait longer.
PROMPT = 0.1


def away_from_the_edge(seconds, period=60):
    """Sleeps where a window of `period` seconds is about to end."""
    left = period - time.time() % period
    if left < seconds:
        time.sleep(left + 0.1)


@pytest.mark.parametrize("mode", ["exact", "auto", "leased"])
@pytest.mark.parametrize("algorithm", ["fixed", "sliding"])
def test_of_300_requests_over_three_nodes_exactly_100_pass(cluster, mode, algorithm):
    limit = {"window": "100/1m", "algorithm": algorithm}
    attempts = 5
    c = cluster(*[limited(limit, f"r{n}", f"/{n}", mode=mode, onStoreFailure="closed") for n in range(attempts)])
    for number in range(attempts):
        away_from_the_edge(15)
        misses, began = c.figure("store_misses"), time.monotonic()
        answers = c.ask_in_turn(300, f"/{number}")
        passed = [a.status for a in answers].count(200)
        # A node may be refused what another holds and has not yet given back: a moment later it has.
        while passed < 100 and time.monotonic() - began < 3:
            passed += [a.status for a in c.ask_in_turn(30, f"/{number}")].count(200)
        assert passed <= 100 and {a.status for a in answers} <= {200, 429, 503}
        if passed == 100 and not any(a.degraded for a in answers):
            break
        # On a busy machine Redis misses a deadline, and what it then gave is given up: never more passes, perhaps less.
        until(lambda: c.figure("store_misses") > misses, f"a miss explains {passed} of 100", 2)
    else:
        pytest.fail(f"Redis missed deadlines in each of {attempts} attempts")
    assert all(a.get("RateLimit-Policy") and a.get("RateLimit") for a in answers)
    assert all(a.get("Retry-After") for a in answers if a.status == 429)


def test_the_log_and_the_metrics_say_who_decided(cluster):
    c = cluster(limited({"window": "10/1h"}, mode="exact"))
    before = c.modes()
    assert [a.status for a in c.ask_in_turn(30)].count(200) <= 10
    after = c.modes()
    assert after["exact"] - before["exact"] >= 3
    assert after["denycache"] - before["denycache"] >= 3
    assert sum(after.values()) - sum(before.values()) == 30

    def lines():
        found = [line["limits"] for node in c.nodes for line in node.log() if line["path"] == "/"]
        return len(found) == 30 and found

    logged = [line["mode"] for line in until(lines, "the log has all lines")]
    assert {mode: logged.count(mode) for mode in set(logged)} == {
        mode: count - before[mode] for mode, count in after.items() if count > before[mode]
    }


def test_a_refusal_that_a_node_knows_of_costs_redis_nothing(cluster):
    c = cluster(limited({"window": "10/1h"}, mode="exact"))
    c.ask_in_turn(60)

    def is_quiet():
        before = c.redis.commands()
        time.sleep(0.1)
        return c.redis.commands() - before < 15

    # Nodes that have just begun have a lot to tell each other.
    until(is_quiet, "the nodes have said what they had to say")
    before, began = c.redis.commands(), time.monotonic()
    assert {a.status for a in c.ask_in_turn(300)} == {429}
    took = time.monotonic() - began
    # The probe itself, and what three nodes say to Redis anyway: each looks at the facts four times a second, and tells of
    # itself once.
    assert c.redis.commands() - before < 30 + 40 * took
    assert took < 5, "too slow to tell refusals from what nodes say anyway"


# What holds for each rule while Redis is away: the statuses that are right, and what the header says.
RULES = {"local": {200, 429}, "open": {200}, "closed": {503}}


def outage_routes(limit="1000000/1h"):
    return [limited({"window": limit}, rule, f"/{rule}", onStoreFailure=rule) for rule in RULES]


def assert_prompt(answers):
    slow = sorted(a.seconds for a in answers if a.seconds >= PROMPT)
    assert len(slow) <= len(answers) / 100 and max(slow, default=0) < 1


def check_outage(c, began):
    """Every answer of two seconds without Redis is quick and as its rule says."""
    answers = {rule: [] for rule in RULES}
    while time.monotonic() - began < 2:
        for rule, found in answers.items():
            for number in range(3):
                found.append(c.ask(number, f"/{rule}"))
    for rule, found in answers.items():
        assert_prompt(found)
        assert {a.status for a in found if a.degraded} <= RULES[rule]
        assert {a.degraded for a in found[30:]} == {rule}
        assert {a.status for a in found} <= {200, 429, 503}
    assert {a.status for a in answers["local"]} == {200}, "each node's share is far from used up"
    refused = [a for a in answers["closed"] if a.status == 503]
    assert all(a.json()["type"] == "urn:sluice:problem:quota-unavailable" and a.get("Retry-After") for a in refused)
    assert all(c.modes()[rule] > 0 for rule in RULES)
    modes = {line["limits"]["mode"] for line in c.nodes[0].log() if "limits" in line}
    assert set(RULES) <= modes


def check_return(c):
    began = time.monotonic()
    for rule in RULES:
        for number in range(3):
            until(lambda: (a := c.ask(number, f"/{rule}")).degraded is None and a.status == 200, f"{rule} is exact again", 3)
    assert time.monotonic() - began < 1


def test_redis_killed_and_started_again(cluster):
    c = cluster(*outage_routes())
    c.until_counted()
    c.redis.kill()
    check_outage(c, time.monotonic())
    c.redis.start()
    check_return(c)


def test_redis_frozen_and_thawed(cluster):
    c = cluster(*outage_routes())
    c.until_counted()
    c.redis.pause()
    check_outage(c, time.monotonic())
    c.redis.resume()
    check_return(c)


def test_each_node_admits_its_share_while_redis_is_away(cluster):
    c = cluster(limited({"window": "90/1h"}, mode="exact", onStoreFailure="local"))
    c.until_counted()
    away_from_the_edge(30, 3600)
    c.redis.kill()
    statuses = [a.status for a in c.ask_in_turn(300)]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= 90
    assert statuses.count(200) >= 60


def test_nodes_start_without_redis_and_find_it_later(cluster, redis):
    store = redis()
    store.kill()
    c = cluster(limited({"window": "10/1h"}, onStoreFailure="open"), store=store, is_up=False)
    answers = c.ask_in_turn(6)
    assert {(a.status, a.degraded) for a in answers} == {(200, "open")}
    assert_prompt(answers)
    store.start()
    c.until_up("/warm")
    assert {a.degraded for a in c.ask_in_turn(3)} == {None}


def test_a_raised_limit_is_in_force_within_a_second(cluster):
    def routes(limit):
        return limited({"window": f"{limit}/1h"}, mode="exact", onStoreFailure="closed")

    c = cluster(routes(5))
    away_from_the_edge(30, 3600)
    before = [a.status for a in c.ask_in_turn(60)]
    assert before.count(200) <= 5 and set(before[-30:]) == {429}
    began = time.monotonic()
    c.apply([routes(50), WARM])
    after = [a.status for a in c.ask_in_turn(150)]
    assert time.monotonic() - began < 1
    # On a busy machine Redis misses a deadline, and what it then gave is given up.
    passed, missed = (before + after).count(200), (before + after).count(503)
    assert passed <= 50 <= passed + missed and after[-1] == 429


def test_a_node_that_stops_gives_back_what_it_holds(cluster):
    limit = {"window": "400/1h"}
    c = cluster(*[limited(limit, f"r{n}", f"/{n}", mode="leased", onStoreFailure="closed") for n in range(2)])
    away_from_the_edge(60, 3600)
    for attempt in range(2):
        path = f"/{attempt}"
        passed = sum(c.ask(0, path).status == 200 for _ in range(100))
        c.streams.pop(0).close()
        assert c.nodes.pop(0).stop() == 0
        # What one of the others has too much of is called in when another wants it: that takes a moment.
        began = time.monotonic()
        while passed < 400 and time.monotonic() - began < 3:
            passed += sum(a.status == 200 for a in c.ask_in_turn(10, path))
        passed += sum(a.status == 200 for a in c.ask_in_turn(100, path))
        assert passed <= 400
        # On a busy machine Redis misses a deadline, and what it then gave is given up.
        if passed > 390:
            return
    pytest.fail(f"{400 - passed} of 400 are lost with the node")


def test_a_client_that_leaves_while_redis_is_asked_harms_nobody(cluster):
    c = cluster(limited({"window": "1000000/1h"}, mode="exact", onStoreFailure="open"))
    for _ in range(50):
        with connect(c.nodes[0].port) as s:
            s.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
            s.reset()
    assert {a.status for a in c.ask_in_turn(30)} == {200}

    def active():
        return {s.value for s in c.nodes[0].metrics()["sluice_requests_active"].samples}

    until(lambda: active() == {0}, "nothing is left")


def test_a_certificate_that_is_no_use_keeps_the_node_from_starting(tmp_path, origin):
    store = {"url": "rediss://127.0.0.1:6379", "tls": {"authorities": "/nowhere.pem"}}
    node = Gateway(tmp_path, configuration(origin(), store=store, cluster={"secret": SECRET}))
    node.start(wait=False)
    assert node.process.wait(10) == 1
    assert "cannot encrypt connections to the store" in node.said()
