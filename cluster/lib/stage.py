"""The cluster that a scenario plays with: Redis, upstreams, nodes and a router as processes of its own, on ports and in a
folder of its own. All of it ends with the scenario."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SLUICE = pathlib.Path(os.environ.get("SLUICE_BINARY", ROOT / ".build" / "release" / "sluice"))
SECRET = "a secret of thirty-two bytes, say"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(condition, what, seconds=15):
    """Waits until `condition()` is true; returns what it said."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if said := condition():
                return said
        time.sleep(0.01)
    raise SystemExit(f"not within {seconds} s: {what}")


def fetch(url, method="GET", body=None, headers=None):
    """Status and body."""
    fields = {**({"Content-Type": "application/json"} if body else {}), **(headers or {})}
    request = urllib.request.Request(url, method=method, data=body, headers=fields)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def accepts(host, port):
    with socket.create_connection((host, port), 1):
        return True


class Process:
    """A process with a log; `island`: where it runs, or nowhere else than here."""

    def __init__(self, folder, name, command, host="127.0.0.1", port=0, island=None, environment=None):
        self.folder, self.name, self.command, self.host, self.port = folder, name, list(map(str, command)), host, port
        self.island, self.environment, self.process = island, environment or {}, None

    def start(self):
        state = self.folder / f"{self.name}.state"
        environment = {**os.environ, "STATE_DIRECTORY": str(state), **self.environment}
        with open(self.folder / f"{self.name}.log", "ab") as log, self.island or contextlib.nullcontext():
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environment)
        return self

    def up(self):
        """Waits until it takes connections."""

        def stands():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended:\n{self.said()[-2000:]}")
            return accepts(self.host, self.port)

        until(stands, f"{self.name} takes connections: {self.said()[-500:]}")
        return self

    def said(self):
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def drain(self, seconds=60):
        """Asks it to end in good order, and waits for that."""
        self.signal(signal.SIGTERM)
        self.process.wait(seconds)

    def close(self):
        if self.process and self.process.poll() is None:
            self.resume()
            self.kill()


class Redis(Process):
    def __init__(self, folder, name, *options, host="127.0.0.1", island=None):
        port = free_port()
        self.data = folder / name
        self.data.mkdir()
        listen = ["--bind", host] + (["127.0.0.1"] if host != "127.0.0.1" else [])
        command = ["redis-server", "--port", port, *listen, "--protected-mode", "no", "--dir", self.data, "--save", "",
                   "--appendonly", "no", *options]
        super().__init__(folder, name, command, host, port, island)

    @property
    def place(self):
        return f"{self.host} {self.port}"

    def ask(self, *words):
        done = subprocess.run(
            ["redis-cli", "-h", self.host, "-p", str(self.port), *map(str, words)], capture_output=True, text=True, timeout=5)
        return done.stdout.strip()


class Sentinel(Redis):
    """One of those that watch a group and name its primary."""

    def __init__(self, folder, name, primary):
        super().__init__(folder, name)
        file = folder / f"{name}.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\nprotected-mode no\ndir {self.data}\n"
            f"sentinel monitor m {primary.place} 2\nsentinel down-after-milliseconds m 500\n"
            "sentinel failover-timeout m 3000\n")
        self.command = ["redis-server", str(file), "--sentinel"]


class Member(Process):
    """A node or a router: listens, and has an admin port."""

    def __init__(self, folder, name, verb, content, host="127.0.0.1", island=None):
        self.admin = free_port()
        port = free_port()
        self.content = {
            "listeners": [f"{host}:{port}"], "admin": {"address": f"127.0.0.1:{self.admin}"}, "accessLog": "off", **content}
        self.content["node"] = {"name": name, "threads": 1, "drainSeconds": 10, **self.content.get("node", {})}
        self.file = folder / f"{name}.json"
        self.file.write_text(json.dumps(self.content, indent=2))
        super().__init__(folder, name, [SLUICE, verb, "-c", self.file], host, port, island)

    def verb(self, *words):
        """A verb of the program on this node; what it printed."""
        with self.island or contextlib.nullcontext():
            done = subprocess.run(
                [SLUICE, *words, "--admin", f"127.0.0.1:{self.admin}"], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def is_ready(self):
        if self.island:
            return accepts(self.host, self.port) and fetch(f"http://{self.host}:{self.port}/.sluice/ready")[0] == 200
        return fetch(f"http://127.0.0.1:{self.admin}/readyz")[0] == 200

    def ready(self):
        self.up()
        until(self.is_ready, f"{self.name} is ready: {self.said()[-500:]}")
        return self


# What each node was told last of its part in all limits, behind six numbers of a member: 1 where that is a share.
SHARES = """local all, found = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  if all[i] ~= 'all' then found[#found + 1] = string.format('%d', (struct.unpack('<d', all[i + 1], 49))) end
end
return found"""


class Stage:
    """Everything of a scenario, started in the order in which it depends on each other. With an island, what is at home
    listens where the island reaches it too."""

    def __init__(self, island=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-scenario-"))
        self.island, self.home = island, island.shore if island else "127.0.0.1"
        self.processes, self.nodes, self.upstreams = [], [], []
        self.redis = self.router = None

    def add(self, process):
        self.processes.append(process)
        return process.start()

    def begin(self, routes, nodes=3, sentinels=False, upstream=None, router=None, island_has=None, environment=None):
        """`routes`: all that differs between scenarios, beside what `upstream` and `router` add to their options;
        `island_has`: the name of what runs on the island; `environment`: variables of nodes by name. Returns itself."""
        self.island_has, self.environment = island_has, environment or {}
        self.redis = self.add(Redis(self.folder, "redis", **self.place("redis"))).up()
        self.store = f"redis://{self.redis.host}:{self.redis.port}"
        if sentinels:
            self.begin_group()
        for number in (1, 2):
            port = free_port()
            command = [SLUICE, "echo", "--quiet", "--address", f"{self.home}:{port}"]
            self.upstreams.append(self.add(Process(self.folder, f"upstream-{number}", command, self.home, port)))
        endpoints = [f"{up.host}:{up.port}" for up in self.upstreams]
        self.shared = {
            "upstreams": {"echo": {"endpoints": endpoints, "retries": {"attempts": 2}, **(upstream or {})}}, "routes": routes}
        for number in range(nodes):
            self.nodes.append(self.add(self.make_node(number + 1)))
        for member in self.upstreams:
            member.up()
        for node in self.nodes:
            node.ready()
        self.router = self.add(
            Member(self.folder, "router", "router", {**self.agreed, "router": router or {}}, self.home)).ready()
        self.url = f"http://{self.home}:{self.router.port}"
        until(lambda: fetch(f"{self.url}/free")[0] == 200, "the router answers")
        return self

    def until_shared(self):
        """Waits until every node has been told its share of all limits, by which it goes without the store: some seconds after
        the first of them began."""
        until(lambda: self.redis.ask("EVAL", SHARES, 1, "sluice:scenario:{members}:m").split() == ["1"] * len(self.nodes),
              "all nodes have a share", 30)

    def place(self, name):
        isle = self.island if self.island_has == name else None
        return {"host": isle.address if isle else self.home, "island": isle}

    @property
    def agreed(self):
        return {"store": self.store, "cluster": {"name": "scenario", "secret": SECRET}}

    def make_node(self, number):
        """A node that has not been started."""
        name = f"node-{number}"
        content = {**self.agreed, "node": {"trustedProxies": [self.home]}, **self.shared}
        node = Member(self.folder, name, "run", content, **self.place(name))
        node.environment = self.environment.get(name, {})
        return node

    def begin_group(self):
        """A replica of the first server, and three sentinels."""
        self.replica = self.add(Redis(self.folder, "replica", "--replicaof", *self.redis.place.split(), host=self.home)).up()
        self.sentinels = [self.add(Sentinel(self.folder, f"sentinel-{n}", self.redis)) for n in (1, 2, 3)]
        for sentinel in self.sentinels:
            sentinel.up()
            until(lambda: "num-slaves\n1" in (said := sentinel.ask("SENTINEL", "MASTER", "m")) and
                  "num-other-sentinels\n2" in said, "the sentinels know of each other", 30)
        self.store = {
            "sentinel": {"name": "m", "addresses": [f"{self.home}:{sentinel.port}" for sentinel in self.sentinels]}}

    def close(self):
        for process in reversed(self.processes):
            process.close()
        if self.island:
            self.island.close()
        if "SLUICE_KEEP" in os.environ:
            print(f"logs are in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
