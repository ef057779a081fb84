"""Logins: a real browser, a provider of its own over TLS, and two nodes of a cluster that serve one session in turn."""

import base64
import hashlib
import json
import re
import shutil
import socket
import threading
import time

import pytest
import requests

from certificates import Authority, openssl
from login_provider import LoginProvider
from support import Gateway, ask, configuration, free_port, ok, route, until

SECRET = "a secret of thirty-two bytes, say"
COOKIE = "__Host-sluice-session"
PAGE = {"Accept": "text/html"}
needs_browser = pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")


class RoundRobin:
    """One port before several: each connection goes to the next."""

    def __init__(self, ports):
        self.ports, self.turn = ports, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.ports[self.turn % len(self.ports)]), 5)
            except OSError:
                client.close()
                continue
            self.turn += 1
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(source, target), daemon=True).start()

    def copy(self, source, target):
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            pass
        for side in (source, target):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def answer(stream, request):
    user = request.get("X-User") or "nobody"
    stream.send(ok(f"<title>inside</title><p id=user>{user}</p>".encode(), ("Content-Type", "text/html")))


class Site:
    """Two nodes with TLS behind one port, and the provider that they send browsers to."""

    def __init__(self, folder, redis, up, lifetime=3600, **options):
        self.authority = Authority(folder)
        self.certificate, key = self.authority.issue("site", "DNS:localhost")
        self.ports = [free_port(), free_port()]
        self.front = RoundRobin(self.ports)
        self.url = f"https://localhost:{self.front.port}"
        self.provider = LoginProvider(
            self.authority, redirect_uri=f"{self.url}/oauth2/callback", after_logout=f"{self.url}/bye", lifetime=lifetime)
        login = {
            "type": "oidc-login", "publicURL": self.url, "issuer": self.provider.issuer, "clientId": "gateway",
            "clientSecret": LoginProvider.secret, "ca": {"file": str(self.authority.certificate)}, "afterLogout": "/bye",
            "headers": {"X-User": "sub"}, **options,
        }
        tls = {"certificates": [{"certificate": str(self.certificate), "key": str(key)}]}
        self.nodes = []
        for number, port in enumerate(self.ports):
            home = folder / f"node-{number + 1}"
            home.mkdir()
            plain = free_port()
            content = configuration(
                up, routes=[route("bye", "/bye"), route("inside", "/*", policies=["login"])], policies={"login": login},
                node={"name": f"node-{number + 1}", "state": str(home / "state")}, store=redis.url,
                cluster={"name": "test", "secret": SECRET},
                listeners=[{"address": f"127.0.0.1:{plain}"}, {"address": f"127.0.0.1:{port}", "tls": tls}])
            self.nodes.append(Gateway(home, content, port=plain))
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait()

    def get(self, node, path="/", cookies=None, method="GET", **headers):
        """One request to a node by itself, which follows no redirect."""
        return requests.request(
            method, f"https://localhost:{self.ports[node]}{path}", cookies=cookies, headers=headers, timeout=10,
            allow_redirects=False, verify=str(self.authority.certificate))

    def log_in(self, node=0, path="/"):
        """What a browser does, without one: the session's cookies."""
        start = self.get(node, path, **PAGE)
        assert start.status_code == 302, start.text
        asked = dict(re.findall(r"[?&]([a-z_]+)=([^&]*)", start.headers["Location"]))
        back = self.provider.approve({"request_uri": requests.utils.unquote(asked["request_uri"])}, {})[2]["Location"]
        done = self.get(1 - node, back.removeprefix(self.url), dict(start.cookies), **PAGE)
        assert done.status_code == 303 and done.headers["Location"] == self.url + path, (done.status_code, done.text)
        assert not self.provider.faults
        return {name: value for name, value in done.cookies.items() if name.startswith(COOKIE)}

    def code(self, answer):
        found = re.search(r"urn:sluice:problem:([a-z-]+)", answer.text)
        return answer.status_code, found[1] if found else None

    def said(self):
        return "".join(node.errors.read_text() + node.output.read_text() for node in self.nodes)

    def close(self):
        for node in self.nodes:
            node.__exit__()
        self.front.close()
        self.provider.close()


@pytest.fixture
def site(tmp_path, redis, origin):
    made = []

    def start(**options):
        made.append(Site(tmp_path, redis(), origin(answer), **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def browser(tmp_path):
    """browser(*certificates) is a context of a browser that trusts the keys of these and no others of ours."""
    from playwright.sync_api import sync_playwright

    started = []
    with sync_playwright() as playwright:

        def start(*certificates):
            pins = []
            for certificate in certificates:
                key = openssl(tmp_path, "x509", "-in", certificate, "-noout", "-pubkey")
                der = openssl(tmp_path, "pkey", "-pubin", "-outform", "der", text=key)
                pins.append(base64.b64encode(hashlib.sha256(der).digest()).decode())
            started.append(playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                      f"--ignore-certificate-errors-spki-list={','.join(pins)}"]))
            return started[-1].new_context()

        yield start
        for each in started:
            each.close()


def trusted(browser, s):
    return browser(s.certificate, s.authority.folder / f"provider-{id(s.provider)}.pem")


def cookies_of(context):
    return {cookie["name"]: cookie["value"] for cookie in context.cookies() if cookie["name"].startswith(COOKIE)}


@needs_browser
def test_a_browser_logs_in_and_out(site, browser):
    s = site()
    context = trusted(browser, s)
    page = context.new_page()
    page.goto(f"{s.url}/orders?id=7", timeout=30_000)
    assert page.title() == "provider"
    page.click("#login")
    page.wait_for_url(f"{s.url}/orders?id=7")
    assert page.inner_text("#user") == "ann" and not s.provider.faults
    kept = context.cookies()
    session = [cookie for cookie in kept if cookie["name"].startswith(COOKIE)]
    assert [cookie["name"] for cookie in session] == [COOKIE]
    assert session[0]["secure"] and session[0]["httpOnly"] and session[0]["sameSite"] == "Lax" and session[0]["path"] == "/"
    # Any node serves the session, and neither upstream nor log learns what it is.
    cookies = cookies_of(context)
    assert [s.get(node, cookies=cookies).status_code for node in (0, 1)] == [200, 200]
    page.goto(f"{s.url}/other", timeout=30_000)
    assert page.title() == "inside"
    # Another site does not log her out.
    page.goto(f"{s.provider.issuer}/page?image={s.url}/oauth2/logout", wait_until="load", timeout=30_000)
    page.goto(f"{s.url}/other", timeout=30_000)
    assert page.title() == "inside" and s.provider.logouts == 0
    page.evaluate("location.href = '/oauth2/logout'")
    page.wait_for_url(f"{s.url}/bye")
    assert s.provider.logouts == 1 and not cookies_of(context) and not s.provider.faults
    until(lambda: all(s.code(s.get(node, cookies=cookies)) == (401, "session-over") for node in (0, 1)), "the copy is of no use")
    page.goto(f"{s.url}/", timeout=30_000)
    assert page.title() == "provider"
    said = s.said()
    for secret in (LoginProvider.secret, "refresh-", cookies[COOKIE][:40]):
        assert secret not in said


@needs_browser
@pytest.mark.parametrize("path", [
    "/?next=https://evil.example/", "/@evil.example", "/%2F%2Fevil.example", "/%5Cevil.example", "/a?//evil.example",
    "/oauth2/callback/..;/?https://evil.example",
])
def test_no_path_leads_a_browser_elsewhere(site, browser, path):
    s = site()
    page = trusted(browser, s).new_page()
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(s.url + path, timeout=30_000)
    if page.title() == "provider":
        page.click("#login")
        page.wait_for_load_state()
    assert page.url.startswith(s.url + "/")
    assert all(url.startswith((s.url + "/", s.provider.issuer + "/")) for url in seen), seen


def test_the_host_that_a_request_names_is_not_believed(site):
    s = site()
    start = s.get(0, "/", Host="evil.example", **PAGE)
    assert start.status_code == 302 and "evil" not in start.headers["Location"]
    for path in ("//evil.example/", "/\\evil.example/"):
        assert "evil" not in (s.get(0, path, **PAGE).headers.get("Location") or "")


def test_requests_that_are_no_pages_are_refused(site):
    s = site()
    assert s.code(s.get(0)) == (401, "login-required")
    assert s.code(s.get(0, **PAGE, **{"X-Requested-With": "XMLHttpRequest"})) == (401, "login-required")
    assert s.code(s.get(0, method="POST", **PAGE)) == (401, "login-required")
    assert s.code(s.get(0, cookies={COOKIE: "1made-up"})) == (401, "session-over")


def test_a_login_ends_in_the_browser_in_which_it_began(site):
    s = site()
    start = s.get(0, **PAGE)
    uri = requests.utils.unquote(re.search(r"request_uri=([^&]*)", start.headers["Location"])[1])
    back = s.provider.approve({"request_uri": uri}, {})[2]["Location"].removeprefix(s.url)
    assert s.code(s.get(0, back, **PAGE)) == (400, "login-unknown")
    other = s.get(0, **PAGE)
    assert s.code(s.get(0, back, dict(other.cookies), **PAGE)) == (400, "login-unknown")
    mixed = re.sub(r"iss=[^&]*", "iss=https%3A%2F%2Fevil.example", back)
    assert s.code(s.get(0, mixed, dict(start.cookies), **PAGE)) == (502, "login-failed")
    assert s.get(0, back, dict(start.cookies), **PAGE).status_code == 303
    # On whichever node: a callback is good once.
    assert s.code(s.get(1, back, dict(start.cookies), **PAGE)) == (400, "login-unknown")


@needs_browser
def test_a_session_is_refreshed_behind_the_browsers_back(site, browser):
    s = site(lifetime=8)
    context = trusted(browser, s)
    page = context.new_page()
    page.goto(s.url, timeout=30_000)
    page.click("#login")
    page.wait_for_url(f"{s.url}/")
    for number in range(1, 4):
        before = cookies_of(context)
        time.sleep(6.2)
        page.goto(f"{s.url}/{number}", timeout=30_000)
        assert page.title() == "inside" and s.provider.refreshes == number
        assert cookies_of(context) != before
    assert not s.provider.dead and "alarm" not in s.said()


def test_one_of_many_requests_refreshes(site):
    s = site(lifetime=8)
    cookies = s.log_in()
    time.sleep(6.3)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        statuses = [a.status_code for a in pool.map(lambda number: s.get(number % 2, cookies=cookies), range(16))]
    assert set(statuses) == {200} and s.provider.refreshes == 1 and not s.provider.dead


def test_a_cookie_that_is_replayed_ends_the_session_on_all_nodes(site):
    s = site(lifetime=8)
    stolen = s.log_in()
    time.sleep(6.3)
    renewed = s.get(0, cookies=stolen)
    good = {name: value for name, value in renewed.cookies.items() if name.startswith(COOKIE)}
    assert renewed.status_code == 200 and good
    # Beside the refresh it passes; half a minute later it has been kept by somebody.
    assert s.get(1, cookies=stolen).status_code == 200
    time.sleep(31)
    assert s.code(s.get(1, cookies=stolen)) == (401, "session-over")
    # The good cookie is due too by now: before the nodes have heard of the end it would be refreshed once more.
    time.sleep(1)
    until(lambda: all(s.code(s.get(node, cookies=good)) == (401, "session-over") for node in (0, 1)), "the family is dead")
    assert "alarm: login: a session's cookie was used again" in s.said()
    assert s.provider.refreshes == 1
    listed = ask(s.nodes[0].admin, path="/v1/revocations").json()["revocations"]
    assert [each["kind"] for each in listed] == ["session"] and "may have been stolen" in json.dumps(listed)


def test_the_provider_ends_a_session(site):
    s = site()
    first, second = s.log_in(), s.log_in(1)
    url = f"https://localhost:{s.ports[0]}/oauth2/backchannel-logout"
    sids = s.provider.sessions()
    assert s.provider.tell(url, sid=sids[0], nonce="n").status_code == 400
    assert s.provider.tell(url, sid=sids[0], events={}).status_code == 400
    assert {s.get(node, cookies=first).status_code for node in (0, 1)} == {200}
    told = s.provider.tell(url, sid=sids[0])
    assert told.status_code == 200 and told.headers["Cache-Control"] == "no-store"
    until(lambda: all(s.code(s.get(node, cookies=first)) == (401, "session-over") for node in (0, 1)), "one session is over")
    assert {s.get(node, cookies=second).status_code for node in (0, 1)} == {200}
    assert s.provider.tell(url, sub="ann").status_code == 200
    until(lambda: all(s.code(s.get(node, cookies=second)) == (401, "session-over") for node in (0, 1)), "all of them are over")
    time.sleep(2)
    assert s.get(0, cookies=s.log_in()).status_code == 200


def test_while_the_provider_is_down_sessions_go_on_and_nobody_logs_in(site):
    s = site(lifetime=60)
    cookies = s.log_in()
    s.provider.is_up = False
    assert s.get(1, cookies=cookies).status_code == 200
    assert s.code(s.get(1, **PAGE)) == (503, "login-unavailable")
    s.provider.is_up = True


def test_a_session_of_many_claims_stands_in_several_cookies(site):
    s = site()
    s.provider.claims = {"groups": [f"group-{number:04}" for number in range(500)]}
    cookies = s.log_in()
    assert 1 < len(cookies) <= 4 and {s.get(node, cookies=cookies).status_code for node in (0, 1)} == {200}
