"""Memory per idle keep-alive connection: 9,000 clients that made one request each and stay."""

import socket

import harness as h

CONNECTIONS = 9000  # haproxy reserves two descriptors each, and 20,000 is a common hard limit


def open_idle(port, count):
    clients = []
    for number in range(count):
        client = socket.create_connection(("127.0.0.1", port), 10)
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = b""
        while not reply.endswith(h.BODY.encode()):
            part = client.recv(4096)
            if not part:
                raise SystemExit(f"port {port} closed connection {number + 1} of {count}: {reply!r}")
            reply += part
        clients.append(client)
    return clients


def bytes_per_connection(server):
    h.wrk(server.port, 1)
    before = server.resident_bytes()
    clients = open_idle(server.port, CONNECTIONS)
    after = server.resident_bytes()
    for client in clients:
        client.close()
    return (after - before) / CONNECTIONS


def run(options):
    result = {"unit": "KiB/connection", "connections": CONNECTIONS, "servers": {}}
    with h.upstream() as up:
        makers = [h.nginx("proxy", up.port), h.haproxy("proxy", up.port)]
        if not options.peers_only:
            makers.insert(0, h.sluice("proxy", up.port))
        for server in makers:
            with server:
                result["servers"][server.name] = bytes_per_connection(server) / 1024
    if not options.peers_only:
        result["goals"] = [h.goal("KiB per idle connection", result["servers"]["sluice-proxy"], 0.3)]
    return result
