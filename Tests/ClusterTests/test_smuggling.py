"""Bytes that are no proper HTTP/1.1 request: the right status, the connection closed, nothing at the upstream."""

import pytest

from support import Origin, ask, connect, ok

HOST = "Host: localhost\r\n"


def post(fields, body=""):
    return f"POST /p HTTP/1.1\r\n{HOST}{fields}\r\n{body}"


def get(fields="", line="GET /g HTTP/1.1", host=HOST):
    return f"{line}\r\n{host}{fields}\r\n"


CHUNKED = "Transfer-Encoding: chunked\r\n"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

REFUSED = {
    # Framing: who says where the body ends.
    "length and chunked": (400, post("Content-Length: 6\r\n" + CHUNKED, "0\r\n\r\nG")),
    "chunked and length": (400, post(CHUNKED + "Content-Length: 3\r\n", "0\r\n\r\n")),
    "two lengths that differ": (400, post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd")),
    "two lengths in one field": (400, post("Content-Length: 3, 4\r\n", "abcd")),
    "length with sign": (400, post("Content-Length: +3\r\n", "abc")),
    "negative length": (400, post("Content-Length: -1\r\n")),
    "length in hex": (400, post("Content-Length: 0x3\r\n", "abc")),
    "length with a letter": (400, post("Content-Length: 3a\r\n", "abc")),
    "length with inner space": (400, post("Content-Length: 1 1\r\n", "abc")),
    "empty length": (400, post("Content-Length: \r\n")),
    "length beyond 64 bits": (400, post("Content-Length: 99999999999999999999\r\n")),
    "length that wraps": (400, post("Content-Length: 18446744073709551619\r\n", "abc")),
    "xchunked": ({400, 501}, post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
    "gzip, chunked": ({400, 501}, post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
    "chunked, chunked": (400, post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
    "chunked, identity": (400, post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
    "identity": ({400, 501}, post("Transfer-Encoding: identity\r\n")),
    "two transfer encodings": (400, post(CHUNKED + "Transfer-Encoding: identity\r\n", "0\r\n\r\n")),
    "two chunked": (400, post(CHUNKED + CHUNKED, "0\r\n\r\n")),
    "chunked with parameter": ({400, 501}, post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n")),
    "chunked in quotes": ({400, 501}, post('Transfer-Encoding: "chunked"\r\n', "0\r\n\r\n")),
    "chunked behind a vertical tab": (400, post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
    "empty transfer encoding": (400, post("Transfer-Encoding: \r\n")),
    "transfer encoding in 1.0": (400, f"POST /p HTTP/1.0\r\n{HOST}{CHUNKED}\r\n0\r\n\r\n"),
    # Lines and fields.
    "bare LF after the request line": (400, f"GET /g HTTP/1.1\n{HOST}\r\n"),
    "bare LF after a field": (400, f"GET /g HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n"),
    "bare LF at the end": (400, f"GET /g HTTP/1.1\r\n{HOST}\n"),
    "bare CR in a value": (400, get("A: b\rc\r\n")),
    "CR CR LF": (400, get("A: b\r\r\n")),
    "NUL in a value": (400, get("A: b\0c\r\n")),
    "NUL in a name": (400, get("A\0: b\r\n")),
    "DEL in a value": (400, get("A: b\x7fc\r\n")),
    "control byte in a value": (400, get("A: b\x01c\r\n")),
    "space before the colon": (400, get("A : b\r\n")),
    "tab before the colon": (400, get("A\t: b\r\n")),
    "space before the colon of a length": (400, post("Content-Length : 3\r\n", "abc")),
    "space before the colon of chunked": (400, post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
    "folded field": (400, get("A: b\r\n c\r\n")),
    "folded first field": (400, "GET /g HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    "field without a colon": (400, get("nonsense\r\n")),
    "field without a name": (400, get(": b\r\n")),
    "field name with a slash": (400, get("A/B: c\r\n")),
    "field name with bytes above 127": (400, get("Ä: c\r\n")),
    "field name in brackets": (400, get("[A]: c\r\n")),
    # Host and target.
    "no host": (400, get(host="")),
    "two hosts": (400, get("Host: other\r\n")),
    "two equal hosts": (400, get(HOST)),
    "host list": (400, get(host="Host: a, b\r\n")),
    "host with a path": (400, get(host="Host: a/b\r\n")),
    "host with userinfo": (400, get(host="Host: u@a\r\n")),
    "host with a space": (400, get(host="Host: a b\r\n")),
    "absolute form for another host": (400, get(line="GET http://other/g HTTP/1.1")),
    "authority form": ({400, 501}, get(line="CONNECT localhost:80 HTTP/1.1")),
    "target without a slash": (400, get(line="GET g HTTP/1.1")),
    "asterisk for GET": (400, get(line="GET * HTTP/1.1")),
    "fragment": (400, get(line="GET /a#b HTTP/1.1")),
    "space in the target": (400, get(line="GET /a b HTTP/1.1")),
    "tab in the request line": (400, get(line="GET\t/a HTTP/1.1")),
    "two spaces in the request line": (400, get(line="GET  /a HTTP/1.1")),
    "NUL in the target": (400, get(line="GET /a\0b HTTP/1.1")),
    "bytes above 127 in the target": (400, get(line="GET /\xe4 HTTP/1.1")),
    "broken escape": (400, get(line="GET /a%zz HTTP/1.1")),
    "encoded NUL": (400, get(line="GET /a%00b HTTP/1.1")),
    "dot segments": (400, get(line="GET /a/../../b HTTP/1.1")),
    "encoded dot segments": (400, get(line="GET /a/%2e%2e/%2E%2E/b HTTP/1.1")),
    # Request line.
    "no version": (400, f"GET /g\r\n{HOST}\r\n"),
    "version with a small letter": ({400, 505}, get(line="GET /g http/1.1")),
    "version 2": (505, get(line="GET /g HTTP/2.0")),
    "version 1.10": ({400, 505}, get(line="GET /g HTTP/1.10")),
    "version 1.": ({400, 505}, get(line="GET /g HTTP/1.")),
    "method with a bracket": (400, get(line="GE(T /g HTTP/1.1")),
    "empty method": (400, get(line=" /g HTTP/1.1")),
    "TLS hello": (400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 64),
    "HTTP/2 preface": ({400, 505}, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "spaces before the request": (400, "  " + get()),
    "many empty lines before the request": (400, "\r\n" * 4 + get()),
}

BROKEN_BODIES = {
    "size that is no number": "zz\r\nabc\r\n0\r\n\r\n",
    "size with a sign": "+3\r\nabc\r\n0\r\n\r\n",
    "negative size": "-1\r\nabc\r\n0\r\n\r\n",
    "size with 0x": "0x3\r\nabc\r\n0\r\n\r\n",
    "size that wraps": "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "size of 17 digits": "00000000000000003\r\nabc\r\n0\r\n\r\n",
    "size with a space before": " 3\r\nabc\r\n0\r\n\r\n",
    "size with a space inside": "0 3\r\nabc\r\n0\r\n\r\n",
    "size ended by LF": "3\nabc\r\n0\r\n\r\n",
    "empty size": "\r\nabc\r\n0\r\n\r\n",
    "data ended by LF": "3\r\nabc\n0\r\n\r\n",
    "data longer than its size": "3\r\nabcd\r\n0\r\n\r\n",
    "extension with a bare LF": "3;a=b\nabc\r\n0\r\n\r\n",
    "extension with a bare CR": "3;a\rb\r\nabc\r\n0\r\n\r\n",
    "extension with a control byte": "3;a=\x01\r\nabc\r\n0\r\n\r\n",
    "extension of 64 KiB": "3;" + "a" * 65536 + "\r\nabc\r\n0\r\n\r\n",
    "trailer with a bare LF": "3\r\nabc\r\n0\r\nA: b\n\r\n",
    "trailer without a colon": "3\r\nabc\r\n0\r\nnonsense\r\n\r\n",
    "trailer with a space before the colon": "3\r\nabc\r\n0\r\nA : b\r\n\r\n",
    "folded trailer": "3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """One gateway and one origin for the whole table: what is refused must not leave traces for the next."""
    from support import Gateway, configuration

    with Origin() as origin, Gateway(tmp_path_factory.mktemp("smuggling"), configuration(origin)) as gateway:
        yield gateway, origin
        assert ask(gateway.port, path="/alive").status == 200, "the gateway no longer serves after the table"


def encoded(text):
    return text.encode("latin-1")


@pytest.mark.parametrize("name", REFUSED)
def test_malformed_request_is_refused_and_never_forwarded(house, name):
    gateway, origin = house
    expected, text = REFUSED[name]
    before = len(origin.requests)
    with connect(gateway.port) as stream:
        stream.send(encoded(text) + encoded(SMUGGLED))
        response = stream.response()
        assert response.status in (expected if isinstance(expected, set) else {expected})
        assert response.get("Content-Type") == "application/problem+json"
        assert set(response.json()["instance"].rsplit(":", 1)[1]) != {"0"}, "the refusal has no decision id"
        assert stream.rest() == b"", "something was answered behind the refusal"
    assert len(origin.requests) == before, f"the upstream received {origin.requests[before:]}"


@pytest.mark.parametrize("name", REFUSED)
def test_the_same_byte_by_byte_is_refused_alike(house, name):
    gateway, origin = house
    expected, text = REFUSED[name]
    before = len(origin.requests)
    with connect(gateway.port) as stream:
        try:
            for byte in encoded(text):
                stream.send(bytes([byte]))
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            assert stream.response().status in (expected if isinstance(expected, set) else {expected})
        except (ConnectionResetError, EOFError):
            pass  # it was refused at an early byte, and what followed reset the connection
    assert len(origin.requests) == before


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_broken_chunked_body_never_completes_at_the_upstream(house, name):
    gateway, origin = house
    before = len(origin.requests)
    with connect(gateway.port) as stream:
        stream.send(encoded(post(CHUNKED, BROKEN_BODIES[name])) + encoded(SMUGGLED))
        data = stream.rest()
    assert data.startswith(b"HTTP/1.1 400 ") or data == b"", data[:100]
    assert data.count(b"HTTP/1.1 ") <= 1
    complete = [request for request in origin.requests[before:] if request.complete]
    assert complete == [], f"the upstream received {complete}"


def test_pipelined_requests_are_answered_in_order_and_none_is_lost(house):
    gateway, origin = house
    origin.handler = lambda stream, request: stream.send(ok(request.target.encode()))
    with connect(gateway.port) as stream:
        stream.send("".join(get(line=f"GET /{n} HTTP/1.1") for n in range(50)))
        assert [stream.response().body for _ in range(50)] == [f"/{n}".encode() for n in range(50)]


def test_what_follows_a_valid_body_is_the_next_request_even_if_it_is_refused(house):
    gateway, origin = house
    origin.handler = lambda stream, request: stream.send(ok(request.body))
    with connect(gateway.port) as stream:
        stream.send(post("Content-Length: 3\r\n", "abc") + post(CHUNKED, "3\r\ndef\r\n0\r\n\r\n") + "BAD\r\n\r\n")
        assert stream.response().body == b"abc"
        assert stream.response().body == b"def"
        assert stream.response().status == 400
        assert stream.rest() == b""


def test_hop_by_hop_fields_and_what_connection_names_stay_on_their_hop(house):
    gateway, origin = house
    origin.handler = lambda stream, request: stream.send(
        ok(b"", ("Connection", "keep-alive, X-Private"), ("X-Private", "1"), ("Keep-Alive", "timeout=5"), ("X-Public", "1"))
    )
    fields = [
        ("Connection", "X-Secret, keep-alive"), ("X-Secret", "1"), ("Keep-Alive", "timeout=5"), ("TE", "trailers"),
        ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic eA=="), ("Upgrade", "websocket"), ("X-Open", "1"),
    ]
    response = ask(gateway.port, headers=fields)
    names = {name.lower() for name, _ in origin.requests[-1].fields}
    assert "x-open" in names
    assert not names & {"x-secret", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"}
    assert response.get("X-Public") == "1"
    assert response.get("X-Private") is None and response.get("Keep-Alive") is None


@pytest.mark.parametrize("named", ["Host", "Content-Length", "Transfer-Encoding", "Authorization", "X-API-Key"])
def test_connection_cannot_strip_what_the_upstream_relies_on(house, named):
    gateway, origin = house
    before = len(origin.requests)
    response = ask(
        gateway.port, "POST", headers=[("Connection", named), ("Authorization", "a"), ("X-API-Key", "b")], body=b"abc"
    )
    if response.status == 200 and named in ("Host", "Content-Length", "Transfer-Encoding"):
        assert origin.requests[-1].body == b"abc" and origin.requests[-1].get("Host")
    elif response.status != 200:
        assert response.status == 400 and len(origin.requests) == before


def test_absolute_form_for_the_same_host_is_served_as_its_path(house):
    gateway, origin = house
    origin.handler = lambda stream, request: stream.send(ok())
    assert ask(gateway.port, path="http://localhost/abs?x=1").status == 200
    assert origin.requests[-1].target == "/abs?x=1"
    assert origin.requests[-1].values("Host") == ["localhost"]


def test_one_empty_line_before_a_request_is_tolerated(house):
    gateway, _ = house
    with connect(gateway.port) as stream:
        stream.send("\r\n" + get())
        assert stream.response().status == 200
