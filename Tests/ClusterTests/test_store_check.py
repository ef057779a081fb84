"""What a node says of a Redis that would not keep limits exactly, and when it refuses to serve with it."""

from support import Gateway, configuration, until

LOSING = ("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")


def node(folder, origin, redis, **store):
    return Gateway(
        folder,
        configuration(origin(), store={"url": redis.url, **store}, cluster={"name": "test", "secret": "0123456789abcdef"}),
    )


def test_a_store_that_may_forget_counters_is_said_once_a_node(tmp_path, origin, redis):
    with node(tmp_path, origin, redis(*LOSING)) as gateway:
        until(lambda: "allkeys-lru" in gateway.said(), "the node says what is wrong")
        text = [line for line in gateway.said().splitlines() if "allkeys-lru" in line]
        assert len(text) == 1 and "noeviction" in text[0], text
        assert gateway.is_ready()


def test_a_strict_node_does_not_serve_with_it(tmp_path, origin, redis):
    gateway = node(tmp_path, origin, redis(*LOSING), strict=True)
    gateway.start(wait=False)
    try:
        until(lambda: gateway.process.poll() is not None, "the node ends")
        assert gateway.process.returncode == 1
        assert "store.strict" in gateway.said() and "noeviction" in gateway.said()
    finally:
        gateway.__exit__()


def test_nothing_is_said_of_a_store_that_suits(tmp_path, origin, redis):
    with node(tmp_path, origin, redis("--appendonly", "yes"), strict=True) as gateway:
        until(lambda: gateway.metrics()["sluice_quota_breakers_open"].samples[0].value == 0, "the store is asked")
        assert "store:" not in gateway.said(), gateway.said()
