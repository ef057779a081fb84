"""The PROXY header, version 1 and 2, on listeners that ask for it; and addresses from trusted hops only."""

import socket
import struct

import pytest

from support import ask, connect, free_port, route

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command=0x21, family=0x11, payload=None):
    if payload is None:
        payload = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 80)
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(payload)) + payload


SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "::1") + struct.pack("!HH", 4711, 80)

GOOD = {
    "v1 over IPv4": (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n", "203.0.113.7"),
    "v1 over IPv6": (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "2001:db8::7"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v2 over IPv4": (v2(), "203.0.113.7"),
    "v2 over IPv6": (v2(family=0x21, payload=SIX), "2001:db8::7"),
    "v2 with extras": (v2(payload=v2()[16:] + b"\x04\0\x03abc"), "203.0.113.7"),
    "v2 of the proxy itself": (v2(command=0x20, family=0, payload=b""), "127.0.0.1"),
}

BAD = {
    "none at all": b"",
    "v1 without its end": b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80" + b" " * 200 + b"\r\n",
    "v1 with a bad address": b"PROXY TCP4 203.0.113.999 192.0.2.1 4711 80\r\n",
    "v1 with a bad port": b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 80\r\n",
    "v1 with LF": b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\n",
    "v1 in small letters": b"proxy TCP4 203.0.113.7 192.0.2.1 4711 80\r\n",
    "v2 of version 3": v2(command=0x31),
    "v2 with an unknown command": v2(command=0x2F),
    "v2 too short for its family": v2(payload=b"\1\2\3"),
    "half a signature": SIGNATURE[:8] + b"XXXXXXXX",
}


@pytest.fixture
def listener(origin, gateway):
    up = origin()
    port = free_port()
    g = gateway(up, listeners=[
        {"address": f"127.0.0.1:{port}"},
        {"address": (proxied := f"127.0.0.1:{free_port()}"), "proxyProtocol": True},
    ], process={"port": port})
    return g, int(proxied.split(":")[1]), up


@pytest.mark.parametrize("name", GOOD)
def test_the_client_of_the_header_is_the_client(listener, name):
    _, port, up = listener
    header, client = GOOD[name]
    with connect(port) as stream:
        for _ in range(2):  # the header stands before the first request only
            stream.send(header + REQUEST)
            assert stream.response().status == 200
            header = b""
    assert [r.values("X-Forwarded-For") for r in up.requests] == [[client]] * 2


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_or_missing_header_ends_the_connection(listener, name):
    _, port, up = listener
    with connect(port) as stream:
        stream.send(BAD[name] + REQUEST)
        assert not stream.rest().startswith(b"HTTP/1.1 200")
    assert up.requests == []


def test_a_header_byte_by_byte_is_understood(listener):
    _, port, up = listener
    with connect(port) as stream:
        stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in v2() + REQUEST:
            stream.send(bytes([byte]))
        assert stream.response().status == 200
    assert up.requests[0].values("X-Forwarded-For") == ["203.0.113.7"]


def test_where_nobody_asked_for_it_the_header_is_a_bad_request(listener):
    g, _, up = listener
    with connect(g.port) as stream:
        stream.send(GOOD["v1 over IPv4"][0] + REQUEST)
        assert stream.response().status == 400
    assert up.requests == []


CHAINS = {
    "an untrusted client speaks for nobody": ([], [("X-Forwarded-For", "1.1.1.1")], "127.0.0.1"),
    "a trusted proxy names its client": (["127.0.0.1"], [("X-Forwarded-For", "1.1.1.1")], "1.1.1.1"),
    "only the last untrusted hop counts": (
        ["127.0.0.1", "10.0.0.0/8"], [("X-Forwarded-For", "6.6.6.6, 1.1.1.1, 10.1.2.3")], "1.1.1.1"),
    "several fields are one list": (["127.0.0.1"], [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "1.1.1.1")], "1.1.1.1"),
    "Forwarded works too": (["127.0.0.1"], [("Forwarded", 'for="[2001:db8::7]:1234";proto=https')], "2001:db8::7"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_address_that_counts(origin, gateway, name):
    trusted, fields, client = CHAINS[name]
    limit = {"type": "ip-filter", "allow": [client]}
    g = gateway(origin(), node={"trustedProxies": trusted}, routes=[route(policies=[limit])])
    assert ask(g.port, headers=fields).status == 200
    other = {"type": "ip-filter", "deny": [client], "allow": ["0.0.0.0/0", "::/0"]}
    g.reload({**__import__("json").loads(g.file.read_text()), "routes": [route(policies=[other])]})
    assert ask(g.port, headers=fields).status == 403
