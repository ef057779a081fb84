"""TLS to clients beside nginx, haproxy and Envoy: CPU per request on kept connections (TLS 1.3), CPU per full handshake with one
request, and memory per idle connection."""

import re
import socket
import ssl
import subprocess

import harness as h

HANDSHAKES = 2000
IDLE = 5000


def certificate():
    """An ECDSA certificate for localhost, as two files and, for haproxy, as one."""
    h.WORK.mkdir(exist_ok=True)
    certificate, key = h.WORK / "tls.pem", h.WORK / "tls.key"
    commands = [
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key)],
        ["openssl", "req", "-x509", "-new", "-key", str(key), "-subj", "/CN=localhost", "-days", "30", "-out",
         str(certificate), "-addext", "subjectAltName=DNS:localhost"],
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    (h.WORK / "tls-both.pem").write_text(certificate.read_text() + key.read_text())


def kept(server, seconds):
    """CPU microseconds for each request on 64 kept connections."""
    before = server.cpu_nanoseconds()
    output = subprocess.run(
        h.pinned(["wrk", "-t1", "-c64", f"-d{seconds}s", f"https://127.0.0.1:{server.port}/"]),
        capture_output=True, text=True, check=True,
    ).stdout
    spent = server.cpu_nanoseconds() - before
    requests = int(re.search(r"(\d+) requests in", output)[1])
    if "Socket errors" in output or "Non-2xx" in output:
        raise SystemExit(f"{server.name}: requests failed\n{output}")
    # The handshakes of 64 connections among a hundred thousand requests are no part of the figure.
    return spent / 1000 / requests


def handshake(server):
    """CPU microseconds for a connection that is opened, asks once and is closed."""
    before = server.cpu_nanoseconds()
    output = subprocess.run(
        h.pinned(["h2load", "--h1", f"-n{HANDSHAKES}", f"-c{HANDSHAKES}", "-m1", "-t1", f"https://127.0.0.1:{server.port}/"]),
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout
    spent = server.cpu_nanoseconds() - before
    if f"{HANDSHAKES} 2xx" not in output or "TLSv1.3" not in output:
        raise SystemExit(f"{server.name}: requests failed\n{output[-600:]}")
    return spent / 1000 / HANDSHAKES


def idle(server):
    """Bytes for a connection that has made one request and stays."""
    context = ssl.create_default_context(cafile=str(h.WORK / "tls.pem"))

    def connect():
        client = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), 10), server_hostname="localhost")
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = b""
        while not reply.endswith(h.BODY.encode()):
            part = client.recv(4096)
            if not part:
                raise SystemExit(f"{server.name} closed a connection")
            reply += part
        return client

    clients = [connect() for _ in range(500)]
    before = server.resident_bytes()
    clients += [connect() for _ in range(IDLE)]
    after = server.resident_bytes()
    for client in clients:
        client.close()
    return (after - before) / IDLE / 1024


def run(options):
    certificate()
    with h.upstream() as up:
        servers = [h.nginx("tls", up.port), h.haproxy("tls", up.port), h.envoy("tls", up.port)]
        if not options.peers_only:
            servers.insert(0, h.sluice("tls", up.port))
        requests, handshakes = ({server.name: [] for server in servers} for _ in range(2))
        memory = {}
        try:
            for server in servers:
                server.start()
                kept(server, 1)
            for number in range(options.rounds):
                for server in servers:
                    requests[server.name].append(kept(server, options.seconds))
                    handshakes[server.name].append(handshake(server))
                    h.progress(f"round {number + 1}/{options.rounds} {server.name:16} {requests[server.name][-1]:6.2f} µs")
        finally:
            for server in servers:
                server.stop()
        # Anew: what many connections at once have taken is kept by all of them.
        for server in servers:
            with server:
                memory[server.name] = idle(server)
    h.done()
    result = {
        "CPU µs/request, kept connections": {name: h.summary(values) for name, values in requests.items()},
        "CPU µs/handshake with one request": {name: h.summary(values) for name, values in handshakes.items()},
        "KiB/idle connection": memory,
    }
    if not options.peers_only:
        ratio = h.ratios(requests, "sluice-tls", "nginx-tls")
        own = result["CPU µs/handshake with one request"]["sluice-tls"]["median"]
        peers = [h.summary(handshakes[name])["median"] for name in ("nginx-tls", "haproxy-tls", "envoy-tls")]
        result["ratios"] = {"sluice/nginx, request": ratio, **{
            f"sluice/{peer}, handshake": h.ratios(handshakes, "sluice-tls", f"{peer}-tls") for peer in ("nginx", "envoy")}}
        result["goals"] = [
            h.goal("CPU per request, sluice/nginx", ratio["median"], 0.80),
            h.goal("CPU per handshake, sluice/best", own / min(peers), 0.95),
            h.goal("KiB per idle connection", memory["sluice-tls"], 8),
        ]
    return result
