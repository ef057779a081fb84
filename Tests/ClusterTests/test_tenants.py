"""Tenants: what one may see and change through any node is its own, and a change of it is in force on all of them."""

import hashlib
import json
import os
import threading

import pytest

from nodes import SECRET
from support import Gateway, ask, configuration, route, sluice, until

TOKENS = {name: f"token-of-{name}-0123456789" for name in ("ops", "acme", "globex")}
KEYS = {name: f"key-of-{name}" for name in ("acme", "globex", "nobody")}


def consumer(name, **more):
    digest = hashlib.sha256(KEYS[name].encode()).hexdigest()
    return {"id": f"{name}-app", "keys": [{"id": "k1", "sha256": digest}], **more}


def respond(text):
    return {"type": "respond", "body": text}


class Pair:
    """Two nodes on one Redis, with two tenants and what belongs to nobody."""

    def __init__(self, folder, redis, up):
        self.redis, self.nodes = redis, []
        tokens = [{"name": "ops", "role": "admin", "token": TOKENS["ops"]}]
        tokens += [{"name": f"{name}-ops", "role": "operator", "tenant": name, "token": TOKENS[name]}
                   for name in ("acme", "globex")]
        shared = {"upstreams": ["origin"], "policies": ["keys"]}
        self.content = {
            "tenants": [
                {"id": "acme", "paths": ["/acme/"], "shared": shared, "groups": ["trial"], "endpoints": ["192.0.2.0/24"]},
                {"id": "globex", "paths": ["/globex/"], "shared": shared}],
            "consumers": [consumer("acme", tenant="acme"), consumer("globex", tenant="globex"), consumer("nobody")],
            "policies": {
                "keys": {"type": "api-key"}, "hidden": respond({"env": "SHARED_WORD"}),
                "spoken": {"tenant": "globex", **respond({"env": "TENANT_GLOBEX_WORD"})}},
            "routes": [
                route("everybody", "/all/*", policies=["keys"]),
                {"id": "hidden", "match": {"path": "/hidden"}, "policies": ["hidden"]},
                route("globex", "/globex/*", policies=["keys"], tenant="globex"),
                {"id": "spoken", "match": {"path": "/globex/word"}, "policies": ["keys", "spoken"], "tenant": "globex"}]}
        environment = {**os.environ, "SHARED_WORD": "shared-word", "TENANT_GLOBEX_WORD": "word-of-globex"}
        for number in (1, 2):
            home = folder / f"node-{number}"
            home.mkdir()
            node = Gateway(home, configuration(
                up, node={"name": f"node-{number}", "state": str(home / "state")}, store=redis.url,
                cluster={"name": "test", "secret": SECRET}, **self.content), environment=environment)
            # The admin port is the test's own choice, so the tokens are put beside it.
            node.tokens = tokens
            self.nodes.append(node)
        for node in self.nodes:
            self.protect(node, tokens)
            node.start(wait=False)
        for node in self.nodes:
            node.wait()

    @staticmethod
    def protect(node, tokens):
        content = json.loads(node.file.read_text())
        content["admin"]["tokens"] = tokens
        node.file.write_text(json.dumps(content))

    def api(self, who, method, path, body=None, node=0, kind="application/json", **fields):
        headers = [("Authorization", f"Bearer {TOKENS[who]}"), *((k.replace("_", "-"), v) for k, v in fields.items())]
        if body is not None:
            headers.append(("Content-Type", kind))
        data = b"" if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
        return ask(self.nodes[node].admin, method, path, headers=headers, body=data)

    def put(self, who, document, tenant=None, values=None, node=0, **fields):
        body = {"text": document if isinstance(document, str) else json.dumps(document),
                "values": [{"env": name, "value": value} for name, value in (values or {}).items()]}
        return self.api(
            who, "PUT", f"/v1/tenants/{tenant or who}/config", body, node,
            "application/vnd.sluice.configuration+json", **fields)

    def call(self, path, key=None, node=0):
        reply = ask(self.nodes[node].port, path=path, headers=[("X-API-Key", KEYS[key])] if key else [])
        return reply.status, reply.body.decode()

    def everywhere(self, path, key, wanted):
        for node in range(2):
            until(lambda: self.call(path, key, node) == wanted, f"{path} on node {node + 1}: {self.call(path, key, node)}")

    def verb(self, who, *words, **environment):
        result = sluice(
            "tenant", "--admin", f"127.0.0.1:{self.nodes[1].admin}", *words,
            env={"PATH": os.environ["PATH"], "SLUICE_ADMIN_TOKEN": TOKENS[who], **environment})
        return result.returncode, result.stdout, result.stderr

    def close(self):
        for node in self.nodes:
            node.__exit__()


@pytest.fixture
def pair(tmp_path, redis, origin):
    made = Pair(tmp_path, redis(), origin())
    yield made
    made.close()


def problem(reply):
    return reply.status, reply.json()["type"].removeprefix("urn:sluice:problem:")


def mine(text, name="acme-said", path="/acme/said", **more):
    return {"routes": [{"id": name, "match": {"path": path}, "policies": [respond(text)], **more}]}


def test_a_tenant_sees_nothing_but_its_own(pair):
    for path in ("/v1/config", "/v1/config/revisions", "/v1/config/revisions/1/text", "/v1/nodes", "/v1/audit", "/v1/status",
                 "/metrics", "/v1/revocations", "/v1/explain?route=globex", "/openapi.json", "/v1/config/diff"):
        assert problem(pair.api("acme", "GET", path)) == (403, "admin-not-for-tenants"), path
    for path in ("globex", "initech", "ACME"):
        for what in ("config", "usage"):
            assert problem(pair.api("acme", "GET", f"/v1/tenants/{path}/{what}")) == (404, "tenant-unknown")
    for name in ("globex-app", "nobody-app", "initech-app"):
        assert problem(pair.api("acme", "GET", f"/v1/usage/{name}")) == (404, "not-configured")
    assert pair.api("acme", "GET", "/v1/usage/acme-app").json()["tenant"] == "acme"
    for node in range(2):
        found = pair.api("acme", "GET", "/v1/tenants/acme/config", node=node)
        assert found.status == 200 and found.get("ETag")
        text = found.json()["text"]
        assert "acme-app" in text and not any(word in text for word in ("globex", "nobody", "hidden", "everybody"))
    text = pair.api("globex", "GET", "/v1/tenants/globex/config").json()["text"]
    assert "TENANT_GLOBEX_WORD" in text and "word-of-globex" not in text
    assert pair.api("ops", "GET", "/v1/tenants/globex/config").json()["text"] == text


def test_a_tenants_change_is_in_force_on_both_nodes_and_changes_nothing_else(pair):
    before = pair.api("ops", "GET", "/v1/config").json()["text"]
    document = {**mine({"env": "TENANT_ACME_WORD"}), "consumers": [consumer("acme")]}
    made = pair.put("acme", document, values={"TENANT_ACME_WORD": "acme speaks"}, node=1)
    assert made.status == 200, made.body
    assert [(c["object"], c["change"]) for c in made.json()["changes"]] == [("route", "added")]
    pair.everywhere("/acme/said", None, (200, "acme speaks"))
    assert pair.call("/globex/word", "globex") == (200, "word-of-globex")
    assert pair.call("/hidden") == (200, "shared-word")
    history = pair.api("ops", "GET", "/v1/config/revisions").json()["revisions"]
    assert history[0]["author"] == "acme-ops" and history[0]["revision"] == made.json()["revision"]
    lines = [json.loads(line) for line in pair.api("ops", "GET", "/v1/audit").json()["lines"]]
    assert [(x["actor"], x["tenant"], x["action"]) for x in lines][-1] == ("acme-ops", "acme", "applyTenantConfiguration")
    # The same again is nothing new; back to nothing, and the others' text is what it was.
    again = pair.put("acme", document)
    assert again.json()["changed"] is False
    gone = pair.put("acme", {"consumers": [consumer("acme")]}, If_Match=again.get("ETag"))
    assert gone.status == 200, gone.body
    until(lambda: [pair.call("/acme/said", node=n)[0] for n in (0, 1)] == [404, 404], "the route is gone")
    # Nothing of others has changed: a plan of the first text finds the tenant's own route alone, and that is gone again.
    plan = pair.api("ops", "PUT", "/v1/config?dryRun=true", before.encode())
    assert plan.status == 200 and plan.json()["changes"] == [], plan.body
    assert problem(pair.put("acme", document, If_Match=again.get("ETag"))) == (412, "other-document")


def test_bounds_names_and_secrets_of_others_hold(pair):
    first = pair.api("ops", "GET", "/v1/config").json()
    refused = [
        mine("x", path="/globex/mine"), mine("x", path="/all/mine"), mine("x", path="/*"), mine("x", name="globex"),
        mine("x", name="everybody"), mine({"env": "SHARED_WORD"}), mine({"env": "TENANT_GLOBEX_WORD"}),
        mine({"file": "/etc/hostname"}), mine("x", tenant="globex"),
        {"consumers": [{"id": "globex-app"}]}, {"consumers": [consumer("globex", id="acme-two")]},
        {"consumers": [{"id": "n", "groups": ["staff"]}]}, {"policies": {"keys": respond("x")}},
        {"upstreams": {"origin": {"endpoints": ["192.0.2.1:80"]}}}, {"upstreams": {"u": {"endpoints": ["127.0.0.1:1"]}}},
        {"upstreams": {"u": {"endpoints": ["169.254.169.254:80"]}}}, {"tenants": [{"id": "acme", "paths": ["/"]}]},
        {"policies": {"p": {"type": "external-auth", "url": "http://127.0.0.1:1/"}}}, {"admin": {}},
        {"routes": [{"id": "n", "match": {"path": "/acme/n"}, "policies": ["hidden"]}]},
        {"routes": [{"id": "n", "match": {"path": "/acme/n"}, "policies": ["spoken"]}]},
    ]
    for document in refused:
        values = {"SHARED_WORD": "forged", "TENANT_GLOBEX_WORD": "forged"}
        reply = pair.put("acme", document, values=values)
        assert reply.status == 422, (document, reply.body)
        said = reply.body.decode()
        for word in ("word-of-globex", "shared-word", "nobody", "/etc/hostname", "\\\"spoken\\\" belongs"):
            assert word not in said, (document, said)
    assert pair.api("ops", "GET", "/v1/config").json()["revision"] == first["revision"]
    assert problem(pair.put("acme", mine("x"), tenant="globex")) == (404, "tenant-unknown")
    assert pair.put("ops", mine("x", name="globex-two", path="/globex/two"), tenant="globex").status == 200


def test_keys_of_one_tenant_open_no_route_of_another(pair):
    route_of_acme = {"routes": [{"id": "acme", "match": {"path": "/acme/*"}, "policies": ["keys"], "upstream": "origin"}],
                     "consumers": [consumer("acme")]}
    assert pair.put("acme", route_of_acme).status == 200
    pair.everywhere("/acme/", "acme", (200, "ok"))
    for node in range(2):
        for key, path in (("globex", "/acme/"), ("nobody", "/acme/"), ("acme", "/globex/"), ("nobody", "/globex/")):
            status, body = pair.call(path, key, node)
            assert status == 403 and "other-tenant" in body and "acme" not in body and "globex" not in body
        assert pair.call("/globex/", "globex", node)[0] == 200
        assert [pair.call("/all/", key, node)[0] for key in KEYS] == [200] * 3
    node = pair.nodes[0]
    until(lambda: len(node.log()) >= 9, "the access log has it all")
    seen = {(line.get("consumer"), line.get("tenant")) for line in node.log()}
    assert seen >= {("acme-app", "acme"), ("globex-app", "globex"), ("nobody-app", None)}
    counted = pair.api("globex", "GET", "/v1/tenants/globex/usage").json()
    assert counted["requests"]["4xx"] >= 1 and counted["requests"]["2xx"] >= 2 and counted["refusals"] >= 1
    assert [each["consumer"] for each in counted["consumers"]] == ["globex-app"]
    text = pair.api("ops", "GET", "/metrics").body.decode()
    assert 'sluice_tenant_requests_total{tenant="globex",class="4xx"}' in text


def test_keys_and_revocations_through_a_tenants_token_are_the_tenants(pair):
    def create(who, consumer_, expected=201):
        reply = pair.api(who, "POST", "/v1/keys?wait=3s", {"consumer": consumer_})
        assert reply.status == expected, reply.body
        return reply.json()

    other = create("ops", "globex-app")
    own = create("acme", {"id": "acme-new"})
    assert own["tenant"] == "acme"
    for refused, status in (("globex-app", 404), ("nobody-app", 404), ("acme-app", 403), ({"id": "globex-app"}, 409),
                            ({"id": "n", "tenant": "globex"}, 403), ({"id": "n", "groups": ["staff"]}, 403)):
        create("acme", refused, status)
    assert [key["id"] for key in pair.api("acme", "GET", "/v1/keys").json()["keys"]] == [own["id"]]
    for method, path, body in (("GET", "", None), ("DELETE", "", None), ("PATCH", "", {"state": "disabled"}),
                               ("POST", "/rotate", {})):
        assert problem(pair.api("acme", method, f"/v1/keys/{other['id']}{path}", body)) == (404, "key-unknown")
    # A key of a configured consumer outlives it: a tenant's operator may end it, and not have it go on.
    theirs = create("ops", "acme-app")
    assert pair.api("acme", "POST", f"/v1/keys/{theirs['id']}/rotate", {}).status == 403
    assert pair.api("acme", "PATCH", f"/v1/keys/{theirs['id']}", {"state": "disabled"}).status == 200
    # Of the configuration's keys whoever has the name next would find theirs revoked.
    for kind, name, status in (("key", other["id"], 404), ("key", "globex-app/k1", 404), ("tenant", "globex", 403),
                               ("key", "acme-app/k1", 404),
                               ("subject", "acme-app", 403), ("jti", "x", 403)):
        assert pair.api("acme", "POST", "/v1/revocations", {"kind": kind, "id": name}).status == status, (kind, name)
    assert pair.call("/globex/", "globex")[0] == 200
    assert pair.api("acme", "POST", "/v1/revocations?wait=3s", {"kind": "key", "id": own["id"]}).status == 201
    assert pair.call("/all/", "acme")[0] == 200
    assert pair.api("acme", "POST", "/v1/revocations?wait=3s", {"kind": "tenant", "id": "acme"}).status == 201
    until(lambda: [pair.call("/all/", "acme", node)[0] for node in (0, 1)] == [401, 401], "the tenant is revoked")


def test_the_verb_shows_and_applies_what_is_the_tenants(pair, tmp_path):
    status, out, err = pair.verb("acme", "get", "globex")
    assert status == 1 and out == "" and "No such tenant" in err or "no tenant" in err
    status, out, _ = pair.verb("acme", "get", "acme")
    assert status == 0 and "acme-app" in out
    file = tmp_path / "acme.json"
    file.write_text('{ // mine\n  routes: [{ id: "acme-said", match: { path: "/acme/said" },\n'
                    '    policies: [{ type: "respond", body: { env: "TENANT_ACME_WORD" } }] }],\n}\n')
    status, out, err = pair.verb("acme", "apply", "acme", str(file))
    assert status == 1 and "no value for TENANT_ACME_WORD" in err and f"{file}:3:" in err
    status, out, _ = pair.verb("acme", "apply", "--dry-run", "acme", str(file), TENANT_ACME_WORD="by verb")
    assert status == 0 and "+ route \"acme-said\"" in out and "- consumer \"acme-app\"" in out
    status, out, _ = pair.verb("acme", "apply", "-m", "a word", "acme", str(file), TENANT_ACME_WORD="by verb")
    assert status == 0, out
    pair.everywhere("/acme/said", None, (200, "by verb"))
    status, out, _ = pair.verb("acme", "apply", "acme", str(file))
    assert status == 0 and out.startswith("nothing changes")


def test_two_tenants_apply_at_once_and_both_hold(pair):
    def apply(who, node, rounds, results):
        tag = pair.api(who, "GET", f"/v1/tenants/{who}/config", node=node).get("ETag")
        for number in range(rounds):
            reply = pair.put(who, mine(f"{who} {number}", f"{who}-said", f"/{who}/said"), node=node, If_Match=tag)
            results.append((who, reply.status, reply.body))
            tag = reply.get("ETag")

    results = []
    threads = [threading.Thread(target=apply, args=(who, node, 5, results)) for node, who in enumerate(("acme", "globex"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 10 and all(status == 200 for _, status, _ in results), [each for each in results if each[1] != 200]
    pair.everywhere("/acme/said", None, (200, "acme 4"))
    pair.everywhere("/globex/said", None, (200, "globex 4"))


def test_of_two_changes_of_one_tenant_made_for_the_same_state_one_holds(pair):
    tag = pair.api("acme", "GET", "/v1/tenants/acme/config").get("ETag")
    results = []

    def apply(node):
        results.append(pair.put("acme", mine(f"from node {node}"), node=node, If_Match=tag))

    threads = [threading.Thread(target=apply, args=(node,)) for node in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(reply.status for reply in results) == [200, 412], [reply.body for reply in results]
