"""CPU per request with an API key among 1,000 and a local limit per key: sluice, nginx, haproxy, one worker each."""

from comparison import compare


def run(options):
    return compare("keyed", options)
