"""OCSP responses that are fetched: a real responder (openssl ocsp), one that dies, and ones that answer something else."""

import base64
import json
import pathlib
import shutil
import socket
import subprocess
import threading

import pytest

from certificates import Authority
from support import ask, free_port, sluice, until


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


class Responder:
    """The authority's responder on a port that certificates name; it can go and come back."""

    def __init__(self, authority):
        self.authority, self.port, self.process = authority, free_port(), None
        self.url = f"http://127.0.0.1:{self.port}/ocsp"

    def start(self, *certificates, **options):
        self.process = self.authority.responder(self.port, *certificates, **options)
        until(self.accepts, "the responder is there")
        return self

    def accepts(self):
        # To connect and say nothing would keep it from everybody else.
        lines = pathlib.Path("/proc/net/tcp").read_text() + pathlib.Path("/proc/net/tcp6").read_text()
        return any(line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "0A" for line in lines.splitlines())

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def responder(authority):
    made = Responder(authority)
    yield made
    made.stop()


@pytest.fixture
def secured(origin, gateway):
    def start(issued, **more):
        plain, port = free_port(), free_port()
        made = gateway(origin(), listeners=[
            {"address": f"127.0.0.1:{plain}"},
            {"address": f"127.0.0.1:{port}", "tls": {"certificates": [
                {"certificate": str(issued[0]), "key": str(issued[1]), "ocsp": "fetch"}]}},
        ], process={"port": plain}, **more)
        made.secure = port
        return made

    return start


def stapled(port):
    """What a client is sent with the certificate; empty for nothing."""
    said = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-status"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
    ).stdout
    return said if "OCSP Response Status: successful" in said else ""


def status(g):
    return json.loads(ask(g.admin, path="/v1/status").body)["certificates"][0]


def test_the_responder_is_asked(secured, authority, responder):
    issued = authority.issue_asked("site", responder.url, "DNS:localhost")
    responder.start(issued[0])
    g = secured(issued)
    until(lambda: "Cert Status: good" in stapled(g.secure), "the answer is sent with the certificate")
    said = status(g)
    assert said["certificate"] == str(issued[0]) and said["staple"]["present"] and not said["staple"]["fault"]
    metrics = g.metrics()
    expiry = metrics["sluice_tls_staple_expiry_time_seconds"].samples[0]
    assert expiry.labels == {"certificate": str(issued[0])}
    assert 0 < expiry.value < metrics["sluice_tls_certificate_expiry_time_seconds"].samples[0].value
    # It is kept over a reload, and while the responder is away.
    responder.stop()
    g.reload()
    assert "Cert Status: good" in stapled(g.secure)


def test_a_responder_that_is_away_at_first(secured, authority, responder):
    issued = authority.issue_asked("site", responder.url, "DNS:localhost", extensions=["tlsfeature=status_request"])
    g = secured(issued)
    until(lambda: "no OCSP response: no connection" in g.said(), "it is said")
    assert "clients that insist on one refuse the certificate" in g.said()
    assert not stapled(g.secure) and not status(g)["staple"]["present"]
    assert "no OCSP response" in sluice("status", "--admin", f"127.0.0.1:{g.admin}").stdout
    responder.start(issued[0])
    until(lambda: "Cert Status: good" in stapled(g.secure), "it is asked again", seconds=30)
    until(lambda: "its authority answers again" in g.said(), "it is said")


def test_a_revoked_certificate_has_no_answer_to_show(secured, authority, responder):
    issued = authority.issue_asked("site", responder.url, "DNS:localhost")
    responder.start(revoked=[issued[0]])
    g = secured(issued)
    until(lambda: "its authority says that the certificate is revoked" in g.said(), "it is said")
    assert not stapled(g.secure)


def test_what_is_no_answer_is_not_shown(secured, authority, tmp_path):
    """Something else than HTTP, another status, no OCSP, somebody else's word, far too much, and nothing at all."""
    stranger = Authority(tmp_path, "stranger")
    listening = socket.create_server(("127.0.0.1", 0))
    issued = authority.issue_asked("site", f"http://127.0.0.1:{listening.getsockname()[1]}/", "DNS:localhost")
    shutil.copy(issued[0], stranger.folder / "site.pem")
    forged = base64.b64decode(stranger.staple(stranger.folder / "site.pem").read_text())
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    answers = {
        "not HTTP": b"220 mail.test ESMTP\r\n\r\n",
        "status 500": b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        "no OCSP response": head % 5 + b"hello",
        "about another certificate|not the issuer's": head % len(forged) + forged,
        "too long": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000,
        "no end": head % 100 + b"short",
    }
    asked = []

    def serve(answer):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    asked.append(connection.recv(65536))
                    connection.sendall(current[0])
                except OSError:
                    pass

    current = [b""]
    thread = threading.Thread(target=serve, args=(None,), daemon=True)
    thread.start()
    try:
        for words, answer in answers.items():
            current[0] = answer
            g = secured(issued)
            until(lambda: any(f"no OCSP response: " in line and any(word in line for word in words.split("|"))
                              for line in g.said().splitlines()), f"{words}: {g.said()}")
            assert not stapled(g.secure)
        assert asked[0].startswith(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:") and b"application/ocsp-request" in asked[0]
    finally:
        listening.close()


def test_what_cannot_be_asked_is_refused(tmp_path, authority):
    silent = authority.issue("silent", "DNS:localhost")
    alone = authority.issue(
        "alone", "DNS:localhost", extensions=["authorityInfoAccess=OCSP;URI:http://127.0.0.1:1/"])
    secure = authority.issue_asked("secure", "https://127.0.0.1/", "DNS:localhost")
    for issued, words in [(alone, "issuer does not follow"), (silent, "issuer does not follow"),
                          (secure, "no OCSP responder of plain HTTP")]:
        file = tmp_path / "file.json"
        file.write_text(json.dumps({"listeners": [{"address": "127.0.0.1:1", "tls": {"certificates": [
            {"certificate": str(issued[0]), "key": str(issued[1]), "ocsp": "fetch"}]}}]}))
        done = sluice("check", file)
        assert done.returncode == 1 and words in done.stdout + done.stderr


def test_a_certificate_that_has_clients_insist_is_warned_of(tmp_path, authority):
    issued = authority.issue("site", "DNS:localhost", extensions=["tlsfeature=status_request"])
    file = tmp_path / "file.json"
    file.write_text(json.dumps({"listeners": [{"address": "127.0.0.1:1", "tls": {"certificates": [
        {"certificate": str(issued[0]), "key": str(issued[1])}]}}]}))
    done = sluice("check", file)
    assert "insist on an OCSP response" in done.stdout + done.stderr
