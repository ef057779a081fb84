"""Fixtures: processes that end with their test."""

import subprocess

import pytest

from nodes import WARM, Cluster
from support import SLUICE, Gateway, Origin, Redis, accepts, configuration, free_port, until


def pytest_sessionstart(session):
    if not SLUICE.exists():
        pytest.exit(f"{SLUICE} is not there; build it with: swift build -c release", 1)


@pytest.fixture
def origin():
    """origin(handler) starts an upstream; all of a test's upstreams end with it."""
    started = []

    def start(handler=None, **options):
        started.append(Origin(handler, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def gateway(tmp_path):
    """gateway(*origins, **options) starts a gateway before them: see `support.configuration`."""
    started = []

    def start(*origins, content=None, process=None, **options):
        made = Gateway(tmp_path, content or configuration(*origins, **options), **(process or {}))
        started.append(made)
        return made.start()

    yield start
    for each in started:
        each.__exit__()


@pytest.fixture
def chat():
    """The address of an echo, which speaks WebSocket."""
    port = free_port()
    echo = subprocess.Popen([str(SLUICE), "echo", "--address", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
    until(lambda: accepts(port), "the echo listens")
    yield f"127.0.0.1:{port}"
    echo.terminate()
    assert echo.wait(10) in (0, -15)


@pytest.fixture
def redis(tmp_path):
    """redis(*options) starts a redis-server; all of a test's end with it, stopped ones too."""
    started = []

    def start(*options):
        started.append(Redis(tmp_path, *options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def cluster(tmp_path, redis, origin):
    """cluster(routes…) starts three nodes on one Redis before one origin."""
    started = []

    def start(*routes, store=None, is_up=True, **options):
        started.append(Cluster(tmp_path, store or redis(), origin(), [*routes, WARM], is_up=is_up, **options))
        if is_up:
            started[-1].until_up("/warm")
        return started[-1]

    yield start
    for each in started:
        each.close()
