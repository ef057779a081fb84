"""Active checks by the health protocol of gRPC, with grpcio's own servicer at the other end."""

from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from support import until
from test_grpc import Service
from test_http2 import node, sample  # noqa: F401

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Named(Service):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def Unary(self, request, context):
        return self.name


@pytest.fixture
def services():
    """services(name) starts one that says its name; without `asked`, it does not know the protocol."""
    started = []

    def start(name, asked=True):
        server = grpc.server(futures.ThreadPoolExecutor(8))
        made = Named(name)
        server.add_generic_rpc_handlers((made,))
        made.health = health.HealthServicer()
        if asked:
            health_pb2_grpc.add_HealthServicer_to_server(made.health, server)
        made.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        started.append(server)
        return made

    yield start
    for server in started:
        server.stop(0)


def callers(node, *services, **health):
    """What tells who answers, of a node before these services."""
    g = node(*[each.address for each in services], upstream={
        "protocol": "h2", "balance": "round-robin",
        "health": {"interval": "200ms", "timeout": "150ms", "healthyAfter": 1, "unhealthyAfter": 2, **health}})
    channel = grpc.insecure_channel(f"127.0.0.1:{g.port}")
    call = channel.unary_unary("/chat.Chat/Unary")
    return g, lambda: {call(b"", timeout=10) for _ in range(4)}


def test_a_service_that_is_not_serving_gets_no_calls(node, services):
    one, two = services(b"one"), services(b"two")
    for each in (one, two):
        each.health.set("chat.Chat", SERVING)
    g, answers = callers(node, one, two, grpc="chat.Chat")
    until(lambda: sample(g, "sluice_upstream_healthy") == 2, "both are well")
    assert answers() == {b"one", b"two"}
    one.health.set("chat.Chat", NOT_SERVING)
    until(lambda: sample(g, "sluice_upstream_healthy") == 1, "it is found out")
    assert answers() == {b"two"}
    one.health.set("chat.Chat", SERVING)
    until(lambda: answers() == {b"one", b"two"}, "it is back")
    one.health.enter_graceful_shutdown()
    until(lambda: answers() == {b"two"}, "it drains")
    assert sample(g, "sluice_upstream_connections_opened") <= 4, "checks share a connection too"


def test_the_server_as_a_whole(node, services):
    one, two = services(b"one"), services(b"two")
    one.health.set("", NOT_SERVING)
    g, answers = callers(node, one, two, grpc="")
    until(lambda: sample(g, "sluice_upstream_healthy") == 1, "one is not well")
    assert answers() == {b"two"}


def test_who_does_not_know_the_service_or_the_protocol_is_not_well(node, services):
    one, two, three = services(b"one"), services(b"two"), services(b"three", asked=False)
    one.health.set("chat.Chat", SERVING)
    g, answers = callers(node, one, two, three, grpc="chat.Chat")
    until(lambda: sample(g, "sluice_upstream_healthy") == 1, "two are not well")
    assert answers() == {b"one"}
