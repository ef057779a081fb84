"""The router: nodes come and go behind it, and its clients do not notice."""

import json
import socket
import threading
import time
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from nodes import SECRET, WARM, Router, limited
from support import accepts, ask, connect, free_port, ok, sluice, until

# Writes a record as if its node lived.
FORGE = """local now, pulse = redis.call('TIME'), redis.call('GET', 'sluice:test:{cluster}:pulse')
local _, age = struct.unpack('<dd', pulse)
redis.call('HSET', KEYS[1], ARGV[1], struct.pack('<dd', now[1] * 1000000 + now[2], age) .. ARGV[2])
return 1"""
PLAIN = {"id": "all", "match": {"path": "/*"}, "upstream": "origin"}


class Load:
    """Clients of a router, each with a connection of its own, one request after the other, until told to stop."""

    def __init__(self, port, clients=8, method="GET", pace=0.0):
        self.port, self.method, self.pace = port, method, pace
        self.answers_of, self.failures, self.longest, self.ends = [0] * clients, [], 0.0, threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        length = "Content-Length: 2\r\n\r\nhi" if self.method == "POST" else "\r\n"
        stream = connect(self.port)
        try:
            while not self.ends.is_set():
                began = time.monotonic()
                stream.send(f"{self.method} / HTTP/1.1\r\nHost: localhost\r\n{length}")
                response = stream.response()
                self.longest = max(self.longest, time.monotonic() - began)
                self.answers_of[number] += 1
                if response.status != 200:
                    self.failures.append(response.status)
                if response.get("Connection") == "close":
                    stream.close()
                    stream = connect(self.port)
                time.sleep(self.pace)
        except (OSError, EOFError) as error:
            self.failures.append(repr(error))
        finally:
            stream.close()

    @property
    def answers(self):
        return sum(self.answers_of)

    def everybody_goes_on(self, seconds=10):
        """Until each client has had some more answers."""
        before = list(self.answers_of)
        until(lambda: all(now > then + 5 for now, then in zip(self.answers_of, before)), "each client is answered", seconds)

    def has_answers(self, more=50):
        before = self.answers
        until(lambda: self.answers >= before + more or self.failures, "requests are answered", 10)
        return self

    def end(self):
        self.ends.set()
        for thread in self.threads:
            thread.join(10)
        assert self.answers
        return self.failures


@pytest.fixture
def routed(cluster, tmp_path):
    """routed(routes…, router={…}) starts three nodes and a router that finds them; the cluster has it as `router`."""
    started = []

    def start(*routes, router=None, file=None, **more):
        made = cluster(*(routes or [PLAIN]), node={"trustedProxies": ["127.0.0.1"]}, **more)
        content = {"store": made.redis.url, "cluster": {"name": "test", "secret": SECRET}, **(file or {})}
        content = {**content, "node": {"name": "router-1", "threads": 2}, "router": router or {}}
        made.router = Router(tmp_path, content)
        made.router.content = content
        started.append(made.router)
        made.router.start()
        return made

    yield start
    for each in started:
        each.__exit__()


def exactly(redis, *words):
    """A command whose words may hold anything."""
    parts = [word.encode() for word in words]
    with socket.create_connection(("127.0.0.1", redis.port), 1) as s:
        s.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        return redis.answer(s.makefile("rb"))


def served(cluster):
    """Requests that each node has logged."""
    return [sum(line["path"] == "/" for line in node.log()) for node in cluster.nodes]


def test_a_file_that_names_no_nodes_and_no_store_is_refused(tmp_path):
    router = Router(tmp_path, {})
    done = sluice("router", "-c", str(router.file))
    assert done.returncode == 1
    assert "nothing says where the nodes are" in done.stderr and "router: { nodes:" in done.stderr


def test_check_and_schema_know_routers(tmp_path):
    import jsonschema

    file = tmp_path / "router.json"
    content = {"listeners": ["127.0.0.1:1"], "router": {"nodes": ["127.0.0.1:2"], "affinity": "header:X-API-Key"}}
    file.write_text(json.dumps(content))
    assert "a router, 1 listener, 1 node" in sluice("check", str(file)).stdout
    schema = json.loads(sluice("schema", "--router").stdout)
    jsonschema.Draft202012Validator(schema).validate(content)
    content["router"]["balanced"] = "random"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(content)
    file.write_text(json.dumps(content))
    done = sluice("check", str(file))
    assert done.returncode == 1 and 'did you mean "balance"?' in done.stderr


def test_requests_are_shared_out_among_the_members(routed):
    c = routed()
    with connect(c.router.port) as stream:
        for _ in range(60):
            stream.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = stream.response()
            assert response.status == 200
            assert len(response.values("X-Request-Id")) == 1
    counts = until(lambda: sum(found := served(c)) == 60 and found, "all requests are logged")
    assert min(counts) >= 8


def test_a_killed_node_costs_no_request(routed):
    c = routed()
    load = Load(c.router.port).has_answers()
    c.nodes[1].process.send_signal(SIGKILL)
    load.has_answers(400)
    assert load.end() == []


def test_a_draining_node_loses_no_request_that_must_not_be_repeated(routed):
    c = routed()
    load = Load(c.router.port, method="POST").has_answers()
    for node in c.nodes:
        assert node.stop(SIGTERM) == 0
        load.has_answers()
        node.start()
    assert load.has_answers().end() == []


def test_a_node_that_joins_gets_its_share(routed):
    c = routed(router={"slowStart": "1s"})
    c.nodes[0].stop(SIGTERM)
    before = len(c.nodes[0].log())
    load = Load(c.router.port).has_answers()
    c.nodes[0].start()
    until(lambda: len(c.nodes[0].log()) > before + 50, "the new node gets requests", 10)
    assert load.end() == []


def test_what_waits_for_a_stopped_node_goes_elsewhere(routed):
    c = routed()
    load = Load(c.router.port).has_answers()
    c.nodes[0].signal(SIGSTOP)
    try:
        load.everybody_goes_on()
    finally:
        c.nodes[0].signal(SIGCONT)
    assert load.end() == []
    # Its health is asked twice in vain, half a second each.
    assert load.longest < 2.5


def test_without_the_store_the_router_goes_on_with_the_nodes_it_knew(routed):
    c = routed()
    load = Load(c.router.port, pace=0.002).has_answers()
    c.redis.kill()
    load.has_answers(200)
    c.nodes[0].process.send_signal(SIGKILL)
    load.has_answers(200)
    # It comes back empty: nobody is lost for that.
    c.redis.start()
    load.has_answers(1500)
    assert load.end() == []
    counts = served(c)
    assert min(counts[1:]) > 300


def test_a_router_that_starts_without_the_store_goes_to_the_nodes_it_had(routed):
    c = routed()
    Load(c.router.port).has_answers().end()
    c.redis.kill()
    c.router.stop(SIGKILL)
    c.router.start()
    assert Load(c.router.port).has_answers(100).end() == []
    # What was kept is believed only with the cluster's proof.
    c.router.stop(SIGKILL)
    file = c.router.state / "nodes"
    file.write_text(file.read_text().replace(f"127.0.0.1:{c.nodes[0].port}", "127.0.0.1:1").replace('"proof":"', '"proof":"A'))
    c.router.start(wait=False).wait_for_port()
    assert ask(c.router.port).status == 503


def test_one_caller_has_one_node(routed):
    c = routed(router={"affinity": "header:X-API-Key"})
    for key in range(40):
        before = served(c)
        with connect(c.router.port) as stream:
            for _ in range(10):
                stream.send(f"GET / HTTP/1.1\r\nHost: localhost\r\nX-API-Key: key-{key}\r\n\r\n")
                assert stream.response().status == 200
        after = until(lambda: sum(found := served(c)) == sum(before) + 10 and found, "all requests are logged")
        assert sorted(a - b for a, b in zip(after, before)) == [0, 0, 10]
    assert min(served(c)) > 0, "forty keys, and a node has none"


def test_limits_go_by_the_client_not_by_the_router(routed):
    c = routed(limited({"window": "5/1m"}, mode="exact"))

    def asked_by(address):
        fields = [("X-Forwarded-For", address)]
        return [ask(c.router.port, headers=fields).status for _ in range(8)]

    # The router believes nobody, so both are one client.
    assert (asked_by("192.0.2.1") + asked_by("192.0.2.2")).count(200) <= 5
    until(lambda: sum(served(c)) == 16, "all requests are logged")
    assert {line["client"] for node in c.nodes for line in node.log() if line["path"] == "/"} == {"127.0.0.1"}


def test_two_routers_share_nothing_but_the_list(routed, tmp_path):
    c = routed()
    content = {"store": c.redis.url, "cluster": {"name": "test", "secret": SECRET}, "node": {"name": "router-2"}}
    with Router(tmp_path, content) as second:
        loads = [Load(c.router.port).has_answers(), Load(second.port).has_answers()]
        c.nodes[2].process.send_signal(SIGKILL)
        for load in loads:
            assert load.has_answers().end() == []


def test_who_can_write_to_the_store_draws_no_requests(routed, origin):
    c = routed()
    thief = origin()
    load = Load(c.router.port).has_answers()
    members = c.redis.ask("HGETALL", "sluice:test:{cluster}:members")
    name, value = next((n, v) for n, v in zip(members[::2], members[1::2]) if not n.startswith(b"router:"))
    record = json.loads(value[16:])
    for forged in ({**record, "reach": [thief.address]}, {**record, "id": "00000000000000ff", "reach": [thief.address]}):
        text = json.dumps(forged)
        exactly(c.redis, "EVAL", FORGE, "1", "sluice:test:{cluster}:members", forged["id"], text)
        exactly(c.redis, "PUBLISH", "sluice:test:cluster", f"member {forged['id']}")
        load.has_answers(200)
    until(lambda: "does not have the cluster's secret" in c.router.said(), "the router says so")
    assert load.end() == [] and thief.requests == []


def test_the_nodes_of_the_file_need_no_store(routed, tmp_path):
    c = routed()
    addresses = [f"127.0.0.1:{node.port}" for node in c.nodes]
    with Router(tmp_path, {"router": {"nodes": addresses}}) as router:
        load = Load(router.port).has_answers()
        c.nodes[0].process.send_signal(SIGKILL)
        assert load.has_answers(200).end() == []


def test_upgrades_pass_through(routed, origin):
    def mirror(stream, request):
        if not request.get("Upgrade"):
            return stream.send(ok())
        stream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: mirror\r\nConnection: Upgrade\r\n\r\n")
        stream.send(stream.exactly(5)[::-1])
        return False

    up = origin(mirror)
    c = routed(upstreams={"origin": {"endpoints": [up.address]}})
    with connect(c.router.port) as stream:
        stream.send("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: mirror\r\nConnection: Upgrade\r\n\r\nhello")
        assert stream.response().status == 101
        assert stream.exactly(5) == b"olleh"


def test_connections_are_passed_on_as_they_are(routed):
    c = routed()
    for number, node in enumerate(c.nodes):
        listeners = [f"127.0.0.1:{node.port}", {"address": f"127.0.0.1:{free_port()}", "proxyProtocol": True}]
        node.reload({**c.content(number, [PLAIN, WARM]), "listeners": listeners})
    port = free_port()
    c.router.reload({**c.router.content, "listeners": [{"address": f"127.0.0.1:{port}", "passThrough": True}]})

    def has_come():
        try:
            return asks()
        except (OSError, EOFError):
            return None

    def asks():
        with connect(port) as stream:
            stream.send("GET /passed HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert stream.response().status == 200
            return stream.socket.getsockname()

    until(lambda: accepts(port), "the router listens")
    until(lambda: has_come(), "the nodes have told where they expect a PROXY header")
    names = [asks() for _ in range(20)]
    assert len(set(names)) == 20
    # What its kernel had taken for it would be lost with it.
    c.nodes[0].stop(SIGKILL)
    for _ in range(20):
        asks()


def test_a_unix_socket_on_the_same_host_is_preferred(routed):
    c = routed()
    for number, node in enumerate(c.nodes):
        content = c.content(number, [PLAIN, WARM])
        listeners = [f"127.0.0.1:{node.port}", f"unix:{node.folder}/s"]
        trusted = {**content["node"], "trustedProxies": ["127.0.0.1", "::1"]}
        node.reload({**content, "listeners": listeners, "node": trusted})

    def places():
        assert ask(c.router.port, headers=[("X-Probe", "1")]).status == 200
        return {line["upstream"] for line in c.router.log()[-8:]}

    until(lambda: all(place.startswith("unix:") for place in places()), "requests go over unix sockets", 10)
    load = Load(c.router.port).has_answers()
    c.nodes[0].stop(SIGKILL)
    assert load.has_answers(200).end() == []
    # A socket file that nobody listens on any more is a node that is gone.
    assert {line["client"] for node in c.nodes[1:] for line in node.log()[-20:]} == {"127.0.0.1"}


def test_status_names_the_routers(routed):
    c = routed()

    def shown():
        return sluice("status", "--admin", f"127.0.0.1:{c.nodes[0].admin}").stdout

    until(lambda: any({"router-1", "router", "ready"} <= set(line.split()) for line in shown().splitlines()), "it is there")
    assert "3 nodes" in shown()
    c.router.stop(SIGTERM)
    assert "router-1" not in shown()
