"""User instructions (callgrind) and system calls (strace) per request: counts that do not swing with the machine's load.

Both are taken from a server that has already served a few thousand requests, so that start-up, page faults and pool
filling are outside; both use 64 keep-alive connections.
"""

import os
import pathlib
import re
import signal
import subprocess
import time

import harness as h
import stores

WARM = 2000
COUNTED = 6000
SHARED = 6500  # instructions of a request whose limit is decided from a lease


def h2load(port, requests, header=None, connections=64):
    """Exactly so many requests over HTTP/1.1 keep-alive connections."""
    command = ["h2load", "--h1", f"-n{requests}", f"-c{connections}", "-t1"]
    if header:
        command += ["-H", header]
    output = subprocess.run(
        h.pinned([*command, f"http://127.0.0.1:{port}/"]), capture_output=True, text=True, check=True, timeout=300
    ).stdout
    succeeded = int(re.search(r"(\d+) 2xx", output)[1])
    if succeeded != requests:
        raise SystemExit(f"port {port}: {succeeded} of {requests} requests succeeded:\n{output[-600:]}")


def header_for(work):
    return f"X-API-Key: {h.key(7)}" if work == "keyed" else None


def instructions(make, work):
    """`make(prefix)` gives the server to start under callgrind. Instructions of one process, all threads."""
    out = h.WORK / "callgrind.out"
    for old in h.WORK.glob("callgrind.out*"):
        old.unlink()
    # Valgrind gives up on the compiler's debug information, and needs none.
    bare = h.WORK / "sluice-bare"
    if h.SLUICE.exists():
        subprocess.run(["strip", "-g", "-o", str(bare), str(h.SLUICE)], check=True)
    server = make(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--quiet"])
    server.command = [str(bare) if part == str(h.SLUICE) else part for part in server.command]
    if "nginx" in server.command:
        server.command += ["-g", "master_process off;"]  # callgrind follows one process
    with server:
        pid = str(server.process.pid)
        h2load(server.port, WARM, header_for(work))
        subprocess.run(["callgrind_control", "-z", pid], check=True, capture_output=True)
        h2load(server.port, COUNTED, header_for(work))
        subprocess.run(["callgrind_control", "-d", pid], check=True, capture_output=True)
    totals = [
        int(match[1])
        for path in h.WORK.glob("callgrind.out.*")
        for match in [re.search(r"^(?:totals|summary): (\d+)", path.read_text(errors="replace"), re.M)]
        if match
    ]
    return max(totals) / COUNTED


def system_calls(server, work):
    """Calls of the running server and all its threads while it serves; (per request, {call: per request})."""
    table = h.WORK / "strace.txt"
    h2load(server.port, WARM, header_for(work))
    pids = [argument for pid in server.pids() for argument in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-U", "calls,name", "-o", str(table), *pids],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )
    wait_until_traced(server)
    h2load(server.port, COUNTED, header_for(work))
    tracer.send_signal(signal.SIGINT)
    tracer.wait(20)
    calls = {name: int(count) for count, name in re.findall(r"^\s*(\d+)\s+(\w+)\s*$", table.read_text(), re.M)}
    calls.pop("total", None)
    return sum(calls.values()) / COUNTED, {name: round(n / COUNTED, 3) for name, n in calls.items() if n > COUNTED / 100}


def wait_until_traced(server, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        tracers = [
            re.search(r"TracerPid:\s+(\d+)", pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text())[1]
            for pid in server.pids()
            for task in os.listdir(f"/proc/{pid}/task")
        ]
        if all(tracer != "0" for tracer in tracers):
            return
        time.sleep(0.02)
    raise SystemExit(f"strace could not attach to {server.name}; may this user trace processes?")


def run(options):
    h.write_key_files()
    result = {"unit": "per request", "instructions": {}, "system calls": {}, "calls by name": {}}
    hot = '{ per: "key", rate: "100000/s", burst: 6000000 }'
    log = '{ file: "' + str(h.WORK / "access.log") + '" }'
    with h.upstream() as up, stores.Redis("counts-redis") as redis:
        peers = {
            "nginx-proxy": ("proxy", lambda prefix: h.nginx("proxy", up.port, prefix)),
            "nginx-keyed": ("keyed", lambda prefix: h.nginx("keyed", up.port, prefix)),
            "haproxy-proxy": ("proxy", lambda prefix: h.haproxy("proxy", up.port, prefix)),
            "haproxy-keyed": ("keyed", lambda prefix: h.haproxy("keyed", up.port, prefix)),
        }
        ours = {
            "sluice-proxy": ("proxy", lambda prefix: h.sluice("proxy", up.port, prefix=prefix)),
            "sluice-keyed": ("keyed", lambda prefix: h.sluice("keyed", up.port, prefix=prefix)),
            "sluice-logged": ("keyed", lambda prefix: h.sluice("keyed", up.port, log, prefix, "sluice-logged")),
            # Under callgrind Redis may be asked too slowly for the deadline of the first questions.
            "sluice-shared": (
                "keyed", lambda prefix: stores.node("sluice-shared", redis, up.port, hot, prefix=prefix, outage="open")),
        }
        makers = peers if options.peers_only else ours if options.gate else {**ours, **peers}
        for name, (work, make) in makers.items():
            h.progress(f"{name}: system calls")
            with make(()) as server:
                result["system calls"][name], result["calls by name"][name] = system_calls(server, work)
            h.progress(f"{name}: instructions")
            result["instructions"][name] = instructions(make, work)
    h.done()
    if not options.peers_only:
        result["goals"] = [
            h.goal("instructions, key + limit + log", result["instructions"]["sluice-logged"], 6000),
            h.goal("system calls, plain proxy", result["system calls"]["sluice-proxy"], 4.3),
            h.goal("system calls, key + limit", result["system calls"]["sluice-keyed"], 4.3),
            h.goal("instructions, key + shared limit, leased", result["instructions"]["sluice-shared"], SHARED),
            h.goal("system calls, key + shared limit, leased", result["system calls"]["sluice-shared"], 4.3),
        ]
    return result
