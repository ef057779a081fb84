"""Callers known by signatures of their requests (RFC 9421), made by another implementation, and by names and passwords."""

import base64
import datetime
import hashlib
import re
import subprocess
import threading
import time

import httpx
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

from support import SLUICE, ask, route, until
from test_facts import Nodes

SECRET = "a secret that two have, of 32 bytes or more"
MADE = {
    "hmac-sha256": (algorithms.HMAC_SHA256, None),
    "ed25519": (algorithms.ED25519, ed25519.Ed25519PrivateKey.generate),
    "ecdsa-p256-sha256": (algorithms.ECDSA_P256_SHA256, lambda: ec.generate_private_key(ec.SECP256R1())),
    "ecdsa-p384-sha384": (algorithms.ECDSA_P384_SHA384, lambda: ec.generate_private_key(ec.SECP384R1())),
    "rsa-pss-sha512": (algorithms.RSA_PSS_SHA512, lambda: rsa.generate_private_key(65537, 2048)),
    "rsa-v1_5-sha256": (algorithms.RSA_V1_5_SHA256, lambda: rsa.generate_private_key(65537, 2048)),
}
TARGET = ("@method", "@target-uri")


class Signer:
    """A client with one key."""

    def __init__(self, algorithm="hmac-sha256", name="one"):
        kind, make = MADE[algorithm]
        self.name, self.algorithm = name, algorithm
        self.key = make() if make else SECRET.encode()
        keys = MappingKeyResolver(public_keys={}, private_keys={name: self.key})
        self.signer = HTTPMessageSigner(signature_algorithm=kind, key_resolver=keys)

    def option(self, **more):
        if self.algorithm == "hmac-sha256":
            return {"id": self.name, "secret": SECRET, **more}
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return {"id": self.name, "publicKey": pem.decode(), "algorithm": self.algorithm, **more}

    def sign(self, port, path="/", method="GET", body=None, covered=TARGET, fields=None, seconds=0, **more):
        """A request that is ready to be sent, as often as one likes."""
        request = requests.Request(method, f"http://127.0.0.1:{port}{path}", data=body, headers=fields).prepare()
        digest = {} if body is None else {"body": body}
        created = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        self.signer.sign(
            request, key_id=self.name, created=created, covered_component_ids=covered, **digest, **more)
        return request


def send(request):
    """Status, problem code and the answer."""
    with requests.Session() as session:
        answer = session.send(request, timeout=20)
    code = re.search(r"urn:sluice:problem:([a-z-]+)", answer.text)
    return answer.status_code, code[1] if code else None, answer


def signed(*signers, name="signed", path="/*", **options):
    return route(name, path, policies=[{"type": "hmac", "keys": [s.option() for s in signers], **options}])


# --- Signatures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", MADE)
def test_requests_signed_by_another_implementation(gateway, origin, algorithm):
    signer, up = Signer(algorithm), origin()
    g = gateway(up, routes=[signed(signer)])
    assert ask(g.port).status == 401 and not up.requests
    assert send(signer.sign(g.port, "/orders?id=1&x=%20"))[0] == 200
    body = b'{"amount": 10}'
    request = signer.sign(g.port, "/pay", "POST", body, fields={"Content-Type": "application/json"})
    assert send(request)[0] == 200
    seen = up.requests[-1]
    assert seen.body == body and seen.get("Signature") is None and seen.get("Signature-Input") is None
    assert seen.get("Content-Digest") == request.headers["Content-Digest"]
    line = until(lambda: [e for e in g.log() if e.get("subject") == signer.name], "the log names the key")[0]
    assert line["status"] == 200


def test_what_is_changed_on_the_way_is_refused(gateway, origin):
    signer, up = Signer(), origin()
    g = gateway(up, routes=[signed(signer)])

    def changed(change, expected, **options):
        request = signer.sign(g.port, "/pay?to=ann", "POST", b"10", **options)
        change(request)
        assert send(request)[:2] == expected

    def body(request):
        request.body = b"99"

    def digest(request):
        request.body = b"99"
        request.headers["Content-Digest"] = f"sha-256=:{base64.b64encode(hashlib.sha256(b'99').digest()).decode()}:"

    def second(request):
        request.headers["X-Tier"] = "gold"

    def target(request):
        request.url = request.url.replace("ann", "eve")

    def label(request):
        request.headers["Signature"] = request.headers["Signature"] + ", " + request.headers["Signature"]

    changed(body, (400, "digest-mismatch"))
    changed(digest, (401, "signature-invalid"))
    changed(target, (401, "signature-invalid"))
    changed(label, (401, "signature-invalid"))
    changed(second, (401, "signature-invalid"), covered=(*TARGET, "x-tier"), fields={"X-Tier": "tin"})
    assert send(signer.sign(g.port, "/pay", "POST", b"10", covered=("@method",)))[:2] == (401, "signature-incomplete")
    assert send(signer.sign(g.port, seconds=-400))[:2] == (401, "signature-expired")
    assert send(signer.sign(g.port, seconds=60))[:2] == (401, "signature-expired")
    assert send(Signer(name="two").sign(g.port))[:2] == (401, "signature-invalid")
    assert not up.requests


def test_bodies_in_chunks_and_after_a_pause_are_checked_whole(gateway, origin):
    signer, up = Signer(), origin()
    g = gateway(up, routes=[signed(signer, bodyLimit="64KiB")])
    body = b"0123456789" * 6_000
    request = signer.sign(g.port, "/", "POST", body)

    def parts():
        yield body[:1]
        time.sleep(0.2)
        yield body[1:]

    del request.headers["Content-Length"]
    request.headers["Transfer-Encoding"] = "chunked"
    request.body = parts()
    assert send(request)[0] == 200 and up.requests[-1].body == body
    assert send(signer.sign(g.port, "/", "POST", body + body))[:2] == (413, "body-too-large")
    assert len(up.requests) == 1


def test_a_signature_is_good_on_one_node_once(tmp_path, redis, origin):
    signer = Signer()
    nodes = Nodes(tmp_path, redis(), origin(), count=2, routes=[signed(signer)])
    try:
        first, second = (node.port for node in nodes.nodes)
        fields = {"Host": "api.example"}
        for more in ({"nonce": "n-1"}, {}):
            request = requests.Request("GET", "http://api.example/a").prepare()
            signer.signer.sign(request, key_id="one", covered_component_ids=TARGET, **more)
            headers = {**request.headers, **fields}

            def call(port):
                answer = requests.get(f"http://127.0.0.1:{port}/a", headers=headers, timeout=20)
                code = re.search(r"urn:sluice:problem:([a-z-]+)", answer.text)
                return answer.status_code, code[1] if code else None

            assert call(first) == (200, None)
            assert call(second) == (401, "signature-replayed")
            assert call(first) == (401, "signature-replayed")
    finally:
        nodes.close()


def test_a_signature_is_used_once_however_many_send_it_at_once(tmp_path, redis, origin):
    signer = Signer()
    nodes = Nodes(tmp_path, redis(), origin(), count=2, routes=[signed(signer)])
    try:
        request = requests.Request("GET", "http://api.example/a").prepare()
        signer.signer.sign(request, key_id="one", covered_component_ids=TARGET, nonce="once")
        headers = {**request.headers, "Host": "api.example"}
        statuses = []

        def call(port):
            statuses.append(requests.get(f"http://127.0.0.1:{port}/a", headers=headers, timeout=20).status_code)

        threads = [threading.Thread(target=call, args=(nodes.nodes[n % 2].port,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200] + [401] * 19
    finally:
        nodes.close()


# --- Names and passwords -----------------------------------------------------------------------------------------------


def hashed(password, cost=14):
    done = subprocess.run(
        [SLUICE, "password", "--cost", str(cost)], input=password.encode(), capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def named(users, name="named", **options):
    return route(name, "/*", policies=[{"type": "basic", "users": users, **options}])


def test_the_verb_makes_hashes_that_other_programs_make_too():
    text = hashed("pässwörd\n")
    parts = re.fullmatch(r"\$scrypt\$ln=14,r=8,p=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})", text)
    salt, found = (base64.b64decode(part + "=" * (-len(part) % 4)) for part in parts.groups())
    assert hashlib.scrypt("pässwörd".encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=32, maxmem=64 << 20) == found
    done = subprocess.run([SLUICE, "password"], input=b"", capture_output=True, timeout=20)
    assert done.returncode == 1 and b"no password" in done.stderr


def test_users_by_name_and_password(gateway, origin):
    up = origin()
    g = gateway(up, routes=[named([{"name": "ann", "password": hashed("open: sesame"), "groups": ["ops"]},
                                   {"name": "jörg", "password": hashed("pässwörd")}], realm="orders")])
    base = f"http://127.0.0.1:{g.port}/"
    answer = httpx.get(base)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="orders", charset="UTF-8"'
    assert httpx.get(base, auth=("ann", "open")).status_code == 401
    assert httpx.get(base, auth=("eve", "open: sesame")).status_code == 401
    assert not up.requests
    assert httpx.get(base, auth=("ann", "open: sesame")).status_code == 200
    assert up.requests[-1].get("Authorization") is None
    assert httpx.get(base, auth=("jörg", "pässwörd")).status_code == 200
    done = subprocess.run(
        ["curl", "-sS", "-o", "-", "-w", "%{http_code}", "-u", "ann:open: sesame", base], capture_output=True, timeout=20)
    assert done.stdout.endswith(b"200")
    line = until(lambda: [e for e in g.log() if e.get("subject") == "ann"], "the log names the user")[0]
    assert line["status"] == 200
    said = g.output.read_text() + g.errors.read_text()
    assert "sesame" not in said and "$scrypt$" not in said


def test_guesses_are_slowed_and_hold_nobody_else_up(gateway, origin):
    up = origin()
    policies = [{"type": "basic", "users": [{"name": "ann", "password": hashed("open sesame", 15)}]}]
    g = gateway(up, routes=[route("named", "/named", policies=policies), route("open", "/*")])
    base = f"http://127.0.0.1:{g.port}"
    assert httpx.get(f"{base}/named", auth=("ann", "open sesame")).status_code == 200
    statuses = []

    def guess(number):
        statuses.append(httpx.get(f"{base}/named", auth=(f"u-{number}", "guess"), timeout=30).status_code)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    # The loop serves others meanwhile, and whoever is remembered.
    began = time.monotonic()
    for _ in range(20):
        assert httpx.get(f"{base}/other").status_code == 200
        assert httpx.get(f"{base}/named", auth=("ann", "open sesame")).status_code == 200
    assert time.monotonic() - began < 10
    for thread in threads:
        thread.join()
    assert set(statuses) <= {401, 429, 503} and statuses.count(401) <= 40 and 429 in statuses


def test_users_in_a_file_and_a_reload(gateway, origin, tmp_path):
    file = tmp_path / "users"
    file.write_text(f"# people\nann:{hashed('one')}\n")
    g = gateway(origin(), routes=[route("named", "/*", policies=[{"type": "basic", "file": {"file": str(file)}}])])
    base = f"http://127.0.0.1:{g.port}/"
    assert httpx.get(base, auth=("ann", "one")).status_code == 200
    file.write_text(f"ann:{hashed('two')}\n")
    g.reload()
    until(lambda: httpx.get(base, auth=("ann", "one")).status_code == 401, "the old password is over")
    assert httpx.get(base, auth=("ann", "two")).status_code == 200
