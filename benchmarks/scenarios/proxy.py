"""CPU per request, plain proxy with keep-alive on both sides: sluice, nginx, haproxy, one worker each."""

from comparison import compare


def run(options):
    return compare("proxy", options)
