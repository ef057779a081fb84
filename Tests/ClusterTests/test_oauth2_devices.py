"""Devices without a browser and clients that operators register, on two nodes that are one authorization server."""

import time

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session as Authlib

from support import Gateway, configuration, until
from test_oauth2_server import API, ISSUER, claims, digest, servers  # noqa: F401 (a fixture)

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


def start(s, node=0, client="tv", scope="read"):
    answer = requests.post(
        s.url(node, "/oauth2/device_authorization"), data={"client_id": client, "scope": scope}, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


class Browser:
    """A browser in which somebody is logged in."""

    def __init__(self, s, user="ann"):
        self.s, self.session = s, requests.Session()
        if user:
            self.session.headers["X-API-Key"] = f"key of {user}"

    def page(self, path, node):
        return self.session.get(self.s.url(node, path), allow_redirects=False, timeout=10)

    def decide(self, page, decision, node):
        form = page.text.split('name="consent" value="')[1].split('"')[0]
        return self.session.post(
            self.s.url(node, "/oauth2/device"), data={"consent": form, "decision": decision}, allow_redirects=False,
            timeout=10)

    def answer(self, codes, decision="allow", nodes=(1, 0)):
        path = codes["verification_uri_complete"].removeprefix("https://id.example")
        page = self.page(path, nodes[0])
        assert page.status_code == 200 and codes["user_code"] in page.text, page.text
        return self.decide(page, decision, nodes[1])


def poll(s, codes, node=0, client="tv"):
    """What Authlib makes of the answer: a token, the name of an error, or the status of what is no answer to it."""
    session = Authlib(client, token_endpoint_auth_method="none")
    try:
        return session.fetch_token(
            s.url(node, "/oauth2/token"), grant_type=DEVICE, device_code=codes["device_code"])
    except OAuthError as error:
        return error.error
    except requests.HTTPError as error:
        return str(error.response.status_code)


def test_who_is_nobody_or_says_no_gives_a_device_nothing(servers):  # noqa: F811
    s = servers()
    codes = start(s)
    assert poll(s, codes, 1) == "authorization_pending"
    assert poll(s, codes, 0) == "slow_down"
    path = codes["verification_uri_complete"].removeprefix("https://id.example")
    assert Browser(s, user=None).page(path, 1).status_code == 401
    assert Browser(s).page("/oauth2/device?user_code=BCDF-GHJK", 1).status_code == 400
    page = Browser(s).page(path, 0)
    assert Browser(s, "bob").decide(page, "allow", 1).status_code == 403
    assert Browser(s).decide(page, "deny", 1).status_code == 200
    assert poll(s, codes, 0) == "access_denied" and poll(s, codes, 1) == "access_denied"
    assert Browser(s).decide(page, "allow", 0).status_code == 400
    assert poll(s, {"device_code": "made-up"}) == "invalid_grant"


def test_a_device_starts_on_one_node_and_its_user_answers_on_another(servers):  # noqa: F811
    s = servers()
    codes = start(s, node=0)
    assert codes["verification_uri"] == f"{ISSUER}/device" and codes["interval"] == 5
    assert poll(s, codes, 0) == "authorization_pending"
    assert Browser(s).answer(codes).status_code == 200
    token = poll(s, codes, 0)
    assert claims(token["access_token"])["sub"] == "ann" and claims(token["access_token"])["aud"] == API
    for node in (0, 1):
        assert poll(s, codes, node) == "invalid_grant", "a device code is good once in the cluster"
    until(lambda: s.api_call(token["access_token"], 1) == (200, None), "the API knows the keys", 20)
    session = Authlib("tv", token_endpoint_auth_method="none")
    again = session.refresh_token(s.url(1, "/oauth2/token"), refresh_token=token["refresh_token"])
    assert claims(again["access_token"])["sid"] == claims(token["access_token"])["sid"]


def test_a_device_does_what_it_is_told_by_discovery_and_waits(servers):  # noqa: F811
    s = servers()
    found = requests.get(s.url(1, "/.well-known/oauth-authorization-server/oauth2"), timeout=10).json()
    assert found["device_authorization_endpoint"] == f"{ISSUER}/device_authorization"
    assert DEVICE in found["grant_types_supported"]
    codes = start(s, node=1)
    outcomes = [poll(s, codes, 1)]
    Browser(s, "bob").answer(codes, nodes=(0, 0))
    time.sleep(codes["interval"])
    outcomes.append(poll(s, codes, 1))
    assert outcomes[0] == "authorization_pending" and claims(outcomes[1]["access_token"])["sub"] == "bob"


def test_a_login_that_is_revoked_takes_the_device_with_it(servers):  # noqa: F811
    s = servers()
    codes = start(s)
    Browser(s).answer(codes)
    token = poll(s, codes, 0)
    done = s.verb("revoke", "--key", "ann/k", "--reason", "test", "--wait")
    assert done.returncode == 0, done
    late = requests.post(
        s.url(1, "/oauth2/token"),
        data={"grant_type": "refresh_token", "refresh_token": token["refresh_token"], "client_id": "tv"}, timeout=10)
    assert late.json()["error"] == "invalid_grant"
    until(lambda: not s.is_active(token["access_token"], 1), "its tokens are revoked", 5)


def work(s, secret, node, client="late"):
    return requests.post(
        s.url(node, "/oauth2/token"), data={"grant_type": "client_credentials"}, auth=(client, secret), timeout=10)


def test_what_is_no_client_is_not_registered(servers):  # noqa: F811
    s = servers(registeredClients=True)
    for words in (["--grant", "password"], ["--grant", "authorization_code"], [],
                  ["--grant", "client_credentials", "--public"], ["--grant", "client_credentials", "--id", "worker"],
                  ["--grant", "client_credentials", "--id", "ann"],
                  ["--grant", "client_credentials", "--server", "https://other.example"]):
        made = s.verb("clients", "create", *words)
        assert made.returncode != 0 and made.stderr, made
    assert s.verb("clients", "show", "nobody").returncode == 1
    assert len(s.verb("clients", "list").stdout.splitlines()) == 1


def test_an_id_is_one_clients_or_one_consumers_whichever_server_or_tenant_asks(servers):  # noqa: F811
    other = "https://id.example/other"
    second = {"id": "other", "match": {"path": "/other/*"}, "policies": [
        {"type": "oauth2-server", "issuer": other, "audience": API, "clients": [], "registeredClients": True}]}
    s = servers(more_routes=[second], registeredClients=True)

    def make(name, server):
        return s.verb(
            "clients", "create", "--id", name, "--grant", "client_credentials", "--scope", "read", "--server", server)

    assert make("late", ISSUER).returncode == 0
    taken = make("late", other)
    assert taken.returncode == 1 and "taken" in taken.stderr, taken
    assert make("later", other).returncode == 0
    for name in ("late", "later"):
        taken = s.verb("keys", "create", "--consumer", name, "--own", node=1)
        assert taken.returncode == 1 and "Name taken" in taken.stderr, taken
    assert s.verb("keys", "create", "--consumer", "latest", "--own", "--wait", "3s", node=1).returncode == 0
    taken = make("latest", other)
    assert taken.returncode == 1 and "taken" in taken.stderr, taken


def test_a_server_that_takes_none_has_none(servers):  # noqa: F811
    s = servers()
    made = s.verb("clients", "create", "--grant", "client_credentials")
    assert made.returncode == 1 and "oauth2-server" in made.stderr, made


def test_a_registered_client_is_good_on_both_nodes_at_once_and_gone_when_deleted(servers):  # noqa: F811
    s = servers(registeredClients=True)
    assert work(s, "x", 0).status_code == 401
    made = s.verb("clients", "create", "--id", "late", "--grant", "client_credentials", "--scope", "read", node=0)
    assert made.returncode == 0, made
    secret = made.stdout.splitlines()[-1]
    assert secret.startswith("slc_")
    answers = [work(s, secret, node) for node in (1, 0)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    token = answers[0].json()["access_token"]
    until(lambda: s.api_call(token, 0) == (200, None), "the API knows the keys", 20)
    assert "late" in s.verb("clients", "list", node=1).stdout
    assert secret not in s.verb("clients", "show", "late", node=1).stdout
    # The store has no secret.
    kept = str(s.redis.ask("HGETALL", "sluice:test:{cluster}:shelf:oauth-clients"))
    assert "late" in kept and secret not in kept
    turned = s.verb("clients", "rotate", "late", "--overlap", "1h", node=1)
    assert turned.returncode == 0, turned
    newer = turned.stdout.splitlines()[-1]
    assert [work(s, each, node).status_code for each in (secret, newer) for node in (0, 1)] == [200] * 4
    assert s.verb("clients", "create", "--id", "late", "--grant", "client_credentials").returncode == 1
    gone = s.verb("clients", "delete", "late", node=1)
    assert gone.returncode == 0, gone
    assert [work(s, newer, node).status_code for node in (0, 1)] == [401, 401]
    for node in (0, 1):
        until(lambda: s.api_call(token, node)[0] == 401, "its tokens are revoked", 5)
    # As long as tokens of the former one might be good nobody else gets the name.
    assert s.verb("clients", "create", "--id", "late", "--grant", "client_credentials").returncode == 1


def test_a_registered_device_logs_in(servers):  # noqa: F811
    s = servers(registeredClients=True)
    made = s.verb("clients", "create", "--name", "A lamp", "--public", "--grant", "device_code", "--scope", "read")
    assert made.returncode == 0, made
    client = made.stdout.split()[1]
    codes = start(s, node=1, client=client)
    page = Browser(s).page(codes["verification_uri_complete"].removeprefix("https://id.example"), 0)
    assert "A lamp" in page.text
    assert Browser(s).answer(codes).status_code == 200
    assert claims(poll(s, codes, 0, client)["access_token"])["client_id"] == client


def test_without_the_store_nobody_is_told_anything_and_later_all_goes_on(servers):  # noqa: F811
    s = servers(registeredClients=True)
    codes = start(s)
    s.redis.kill()
    form = {"grant_type": DEVICE, "device_code": codes["device_code"], "client_id": "tv"}
    for data in (form, {**form, "client_id": "nobody"}):
        answer = requests.post(s.url(0, "/oauth2/token"), data=data, timeout=10)
        assert answer.status_code == 503 and answer.json()["type"].endswith(":quota-unavailable"), answer.text
    s.redis.start()

    # Each connection to the store comes back by itself: until all have, one step or another is refused.
    def flow():
        codes = requests.post(s.url(0, "/oauth2/device_authorization"), data={"client_id": "tv"}, timeout=10).json()
        if "user_code" not in codes:
            return None
        path = codes["verification_uri_complete"].removeprefix("https://id.example")
        page = Browser(s).page(path, 1)
        if page.status_code != 200 or Browser(s).decide(page, "allow", 0).status_code != 200:
            return None
        token = poll(s, codes, 1)
        return token if "access_token" in token else None

    assert claims(until(flow, "a device gets its token again", 20)["access_token"])["sub"] == "ann"
    # What the store has lost nobody can use any more.
    until(lambda: poll(s, codes, 0) == "invalid_grant", "nobody knows of what is lost", 20)


class Alone:
    """One node without a store that others share."""

    def __init__(self, folder, up):
        server = {"type": "oauth2-server", "issuer": ISSUER, "audience": API,
                  "clients": [{"id": "tv", "grants": ["device_code"], "scopes": ["read"]}]}
        routes = [
            {"id": "device", "match": {"path": "/oauth2/device"},
             "policies": [{"type": "api-key", "optional": True}, server]},
            {"id": "oauth2", "match": {"path": "/oauth2/*"}, "policies": [server]},
        ]
        users = [{"id": "ann", "keys": [{"id": "k", "sha256": digest("key of ann")}]}]
        self.node = Gateway(folder, configuration(up, routes=routes, threads=2, consumers=users))

    def url(self, node, path):
        return f"http://127.0.0.1:{self.node.port}{path}"


def test_a_node_without_a_store_serves_devices_on_all_its_loops(tmp_path, origin, monkeypatch):
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    s = Alone(tmp_path, origin())
    with s.node:
        for _ in range(8):
            codes = start(s)
            assert poll(s, codes) == "authorization_pending"
            assert Browser(s).answer(codes).status_code == 200
            assert claims(poll(s, codes)["access_token"])["sub"] == "ann"
            assert poll(s, codes) == "invalid_grant"
