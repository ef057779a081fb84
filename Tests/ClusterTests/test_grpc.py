"""gRPC through a node, with grpcio at both ends: all kinds of calls, their metadata, deadlines, and refusals in its terms."""

import threading
import time
from concurrent import futures

import grpc
import pytest

from support import free_port, ok, route, until
from test_http2 import Client, node, sample, secured  # noqa: F401
from test_policies import KEY, consumer


class Service(grpc.GenericRpcHandler):
    """Methods whose messages are bytes."""

    def __init__(self):
        self.seen = []
        self.cancelled = threading.Event()
        self.go = threading.Event()

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        make = {
            "Unary": grpc.unary_unary_rpc_method_handler, "Fails": grpc.unary_unary_rpc_method_handler,
            "Slow": grpc.unary_unary_rpc_method_handler, "Down": grpc.unary_stream_rpc_method_handler,
            "Ticks": grpc.unary_stream_rpc_method_handler,
            "Up": grpc.stream_unary_rpc_method_handler, "Both": grpc.stream_stream_rpc_method_handler,
        }.get(name)
        return make and make(getattr(self, name))

    def Unary(self, request, context):
        self.seen.append(dict(context.invocation_metadata()))
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"), ("x-bytes-bin", b"\0\xff")))
        return request[::-1]

    def Fails(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: 100 %")

    def Slow(self, request, context):
        context.add_callback(self.cancelled.set)
        time.sleep(3)
        return b"late"

    def Down(self, request, context):
        for n in range(int(request)):
            yield b"%d" % n

    def Ticks(self, request, context):
        yield b"one"
        assert self.go.wait(10)
        yield b"two"

    def Up(self, requests, context):
        return b"%d" % sum(len(request) for request in requests)

    def Both(self, requests, context):
        for request in requests:
            yield request.upper()


@pytest.fixture
def service():
    server = grpc.server(futures.ThreadPoolExecutor(16))
    made = Service()
    server.add_generic_rpc_handlers((made,))
    made.port = server.add_insecure_port("127.0.0.1:0")
    made.server = server
    server.start()
    yield made
    server.stop(0)


def upstream(service):
    return f"127.0.0.1:{service.port}"


@pytest.fixture
def channel(node, service):
    """channel(**options) is one to a node before the service; the node is its second part."""
    opened = []

    def start(**options):
        options.setdefault("upstream", {})["protocol"] = "h2"
        g = node(upstream(service), **options)
        opened.append(grpc.insecure_channel(f"127.0.0.1:{g.port}"))
        return opened[-1], g

    yield start
    for each in opened:
        each.close()


def test_unary_calls_pass_with_their_metadata(channel, service):
    c, g = channel()
    call = c.unary_unary("/chat.Chat/Unary")
    reply, details = call.with_call(b"hello", metadata=(("x-mine", "a"),), timeout=10)
    assert reply == b"olleh" and details.code() == grpc.StatusCode.OK
    assert dict(details.initial_metadata())["x-first"] == "1"
    assert dict(details.trailing_metadata())["x-last"] == "2"
    assert dict(details.trailing_metadata())["x-bytes-bin"] == b"\0\xff"
    assert service.seen[0]["x-mine"] == "a" and service.seen[0]["x-forwarded-for"] == "127.0.0.1"
    for n in range(200):
        assert call(b"%d" % n, timeout=10) == (b"%d" % n)[::-1]
    assert sample(g, "sluice_upstream_connections_opened") == 1, "all calls share a connection"


def test_streams_pass_in_both_directions(channel):
    c, _ = channel()
    assert [*c.unary_stream("/chat.Chat/Down")(b"1000", timeout=20)] == [b"%d" % n for n in range(1000)]
    assert c.stream_unary("/chat.Chat/Up")(iter([bytes(10_000)] * 300), timeout=20) == b"3000000"
    # Each message is answered before the next is sent.
    turn = threading.Semaphore(1)

    def words():
        for word in [b"one", b"two", b"three"] * 20:
            assert turn.acquire(timeout=10)
            yield word

    heard = []
    for answer in c.stream_stream("/chat.Chat/Both")(words(), timeout=20):
        heard.append(answer)
        turn.release()
    assert heard == [b"ONE", b"TWO", b"THREE"] * 20


def test_calls_over_tls(secured, service):
    g, port, authority = secured(upstream(service), upstream={"protocol": "h2"})
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{port}", credentials) as c:
        assert c.unary_unary("/chat.Chat/Unary")(b"ab", timeout=10) == b"ba"
    assert service.seen[0]["x-forwarded-proto"] == "https"


def test_many_calls_at_once(channel):
    c, g = channel()
    call = c.unary_unary("/chat.Chat/Unary")
    waiting = [call.future(b"%d" % n, timeout=20) for n in range(500)]
    assert [each.result() for each in waiting] == [(b"%d" % n)[::-1] for n in range(500)]
    assert sample(g, "sluice_upstream_connections_opened") <= 3


def failure(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, timeout=options.pop("timeout", 10), **options)
    return error.value.code(), error.value.details()


def test_a_status_of_the_service_passes(channel):
    c, _ = channel()
    assert failure(c.unary_unary("/chat.Chat/Fails"), b"") == (
        grpc.StatusCode.FAILED_PRECONDITION, "not now: 100 %")
    assert failure(c.unary_unary("/chat.Chat/Unknown"), b"")[0] == grpc.StatusCode.UNIMPLEMENTED


def test_refusals_of_the_gateway_are_statuses_of_grpc(channel, service):
    limit = {"type": "rate-limit", "limits": [{"per": "consumer", "window": "2/1h"}]}
    c, g = channel(
        consumers=[consumer("one", "alpha")], routes=[route("chat", "/chat.Chat/*", policies=[KEY, limit])])
    call = c.unary_unary("/chat.Chat/Unary")
    code, details = failure(call, b"")
    assert code == grpc.StatusCode.UNAUTHENTICATED and details.startswith("api-key-missing: ")
    assert c.unary_unary("/other.Other/Unary") and failure(c.unary_unary("/other.Other/Unary"), b"")[0] == (
        grpc.StatusCode.UNIMPLEMENTED), "there is no route"
    key = (("x-api-key", "alpha"),)
    assert [call(b"x", metadata=key, timeout=10) for _ in range(2)] == [b"x", b"x"]
    code, details = failure(call, b"x", metadata=key)
    assert code == grpc.StatusCode.UNAVAILABLE and details.startswith("rate-limited: ")
    until(lambda: [line.get("refusal") for line in g.log()][-1:] == ["rate-limited"], "the refusal is logged")


def test_routes_go_by_service_and_method(channel, service):
    """A call is a POST to /package.Service/Method: the most specific route takes it, whatever its service."""
    c, g = channel(
        consumers=[consumer("one", "alpha")],
        routes=[
            route("service", "/chat.Chat/*"), route("method", "/chat.Chat/Up", policies=[KEY]),
            route("any-service", "/{service}/Fails", policies=[KEY]),
            {**route("canary", "/chat.Chat/*"), "match": {"path": "/chat.Chat/*", "headers": {"x-canary": "1"}}}])
    assert c.unary_unary("/chat.Chat/Unary")(b"ab", timeout=10) == b"ba"
    assert c.unary_unary("/chat.Chat/Unary")(b"ab", timeout=10, metadata=(("x-canary", "1"),)) == b"ba"
    assert failure(c.stream_unary("/chat.Chat/Up"), iter([b""]))[0] == grpc.StatusCode.UNAUTHENTICATED
    assert failure(c.unary_unary("/chat.Chat/Fails"), b"")[0] == grpc.StatusCode.FAILED_PRECONDITION
    assert failure(c.unary_unary("/other.Other/Fails"), b"")[0] == grpc.StatusCode.UNAUTHENTICATED
    code, details = failure(c.unary_unary("/other.Other/Unary"), b"")
    assert code == grpc.StatusCode.UNIMPLEMENTED and details.startswith("no-route: ")
    until(lambda: len(g.log()) == 6, "all are logged")
    assert [line.get("route") for line in g.log()] == [
        "service", "canary", "method", "service", "any-service", None]


def test_a_service_that_is_away_is_unavailable(node):
    g = node(f"127.0.0.1:{free_port()}", upstream={"protocol": "h2"})
    with grpc.insecure_channel(f"127.0.0.1:{g.port}") as c:
        code, details = failure(c.unary_unary("/chat.Chat/Unary"), b"")
        assert code == grpc.StatusCode.UNAVAILABLE and details.startswith("upstream-failed: ")


def test_a_deadline_is_honoured_by_the_gateway(node, service):
    """As frames, since grpcio would give up by itself."""
    g = node(upstream(service), upstream={"protocol": "h2"})
    with Client(g.port) as client:
        fields = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "300m")]
        stream = client.begin("/chat.Chat/Slow", "POST", *fields, ends=False)
        client.send(stream, b"\0\0\0\0\0", ends=True)
        started = time.monotonic()
        reply = client.finish(stream)
        assert reply.status == 200 and reply.fields["grpc-status"] == "4" and reply.ended
        assert reply.fields["content-type"] == "application/grpc" and "deadline" not in reply.trailers
        assert 0.2 < time.monotonic() - started < 1.5
        assert service.cancelled.wait(5), "the service hears of it"


def test_a_deadline_is_not_held_against_the_service(channel, service):
    """Its caller has chosen it: otherwise anybody could have the service ejected."""
    c, g = channel(upstream={"ejection": {"consecutiveFailures": 2}})
    with Client(g.port) as client:
        fields = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "100m")]
        streams = [client.begin("/chat.Chat/Slow", "POST", *fields, ends=False) for _ in range(4)]
        for stream in streams:
            client.send(stream, b"\0\0\0\0\0", ends=True)
        assert [client.finish(stream).fields["grpc-status"] for stream in streams] == ["4"] * 4
    assert c.unary_unary("/chat.Chat/Unary")(b"ab", timeout=10) == b"ba"
    assert sample(g, "sluice_upstream_failures") == sample(g, "sluice_upstream_ejections") == 0


def test_a_cancelled_call_is_cancelled_at_the_service(channel, service):
    c, _ = channel()
    call = c.unary_unary("/chat.Chat/Slow").future(b"", timeout=10)
    time.sleep(0.3)
    call.cancel()
    assert service.cancelled.wait(2)


def test_ordinary_requests_beside_calls_are_refused_as_ever(origin, node):
    g = node(origin(lambda stream, request: stream.send(ok())), routes=[route(policies=[KEY])], consumers=[
        consumer("one", "alpha")])
    with Client(g.port) as client:
        reply = client.ask("/", "POST", ("content-type", "application/grpc-web"), body=b"x")
        assert reply.status == 401 and reply.fields["content-type"] == "application/problem+json"
