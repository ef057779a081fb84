"""What the end-to-end tests share: a gateway and a Redis as processes, and an origin that does as it is told.

Nothing sleeps for luck: `until` waits for a condition with a deadline, and every socket has a timeout.
"""

import json
import os
import pathlib
import random
import re
import shutil
from signal import SIGCONT, SIGHUP, SIGSTOP, SIGTERM
import socket
import subprocess
import threading
import urllib.parse

# Tests import these from here as well.
from sockets import PATIENCE, Message, Stream, accepts, ask, connect, until  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SLUICE = pathlib.Path(os.environ.get("SLUICE_BINARY", ROOT / ".build" / "release" / "sluice"))


_next_port = random.randrange(18_000)


def free_port(count=1):
    """The first of `count` ports that nobody has, below those from which the kernel picks for outgoing connections: one
    of these could be taken between the question and its use."""
    global _next_port
    while True:
        port = 12_000 + _next_port % 18_000
        _next_port += count
        try:
            for number in range(port, port + count):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", number))
            return port
        except OSError:
            continue


# --- The origin --------------------------------------------------------------------------------------------------------


def ok(body=b"ok", *headers, status="200 OK"):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


class Origin:
    """An upstream on a port of its own. `handler(stream, request)` answers each request; False ends the connection.

    Everything that arrives is kept: `requests` as parsed, `connections` as a count, so that a test can say what did *not*
    reach the upstream.
    """

    def __init__(self, handler=None, port=0, backlog=512, raw=None):
        self.handler = handler or (lambda stream, request: stream.send(ok()))
        self.raw = raw  # takes the connection whole instead of request by request
        self.requests = []
        self.connections = 0
        self.streams = set()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=backlog)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(60)
            stream = Stream(connection)
            self.streams.add(stream)
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        try:
            if self.raw:
                self.raw(stream)
            else:
                while request := stream.request():
                    self.requests.append(request)
                    if self.handler(stream, request) is False:
                        break
        except (OSError, EOFError, ValueError):
            pass
        finally:
            stream.close()
            self.streams.discard(stream)

    def close(self):
        # A thread in accept() holds the listening socket open; shutdown wakes it.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for stream in list(self.streams):
            try:
                stream.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- The gateway -------------------------------------------------------------------------------------------------------


def route(id="all", path="/*", upstream="origin", **more):
    return {"id": id, "match": {"path": path}, "upstream": upstream, **more}


def configuration(*origins, routes=None, upstream=None, threads=1, **more):
    """The smallest file for these origins; `upstream` adds to the upstream's options, `more` to the top level."""
    addresses = [origin if isinstance(origin, str) else origin.address for origin in origins]
    base = {
        "node": {"threads": threads},
        "upstreams": {"origin": {"endpoints": addresses, **(upstream or {})}},
        "routes": routes if routes is not None else [route()],
    }
    node = more.pop("node", {})
    return {**base, **more, "node": {**base["node"], **node}}


class Gateway:
    """`sluice run` as a process of its own, with its own folder for file and logs."""

    verb = "run"

    def __init__(self, folder, content, port=None, admin=None, environment=None, preexec=None, stdout=None):
        self.folder = pathlib.Path(folder)
        self.port = port or free_port()
        self.admin = admin or free_port()
        self.file = self.folder / f"gateway-{self.port}-{id(self)}.json"
        self.output = self.folder / f"gateway-{self.port}-{id(self)}.out"
        self.errors = self.folder / f"gateway-{self.port}-{id(self)}.err"
        # What a node of a cluster keeps over a restart, apart from all other tests.
        self.state = self.folder / f"gateway-{self.port}-{id(self)}.state"
        self.environment = {**os.environ, "STATE_DIRECTORY": str(self.state), **(environment or {})}
        self.preexec = preexec
        self.stdout = stdout
        self.process = None
        self.write(content)

    def write(self, content):
        if isinstance(content, dict):
            content = {
                "listeners": [{"address": f"127.0.0.1:{self.port}"}],
                "admin": {"address": f"127.0.0.1:{self.admin}"},
                **content,
            }
            content = json.dumps(content, indent=2)
        temporary = self.file.with_suffix(".new")
        temporary.write_text(content)
        temporary.rename(self.file)

    def start(self, wait=True):
        """Begins, and waits until it serves unless told otherwise: see `wait`."""
        assert self.process is None or self.process.poll() is not None, "it runs already, and nobody would end the first"
        with open(self.errors, "wb") as errors, open(self.stdout or self.output, "wb") as output:
            self.process = subprocess.Popen(
                [str(SLUICE), self.verb, "-c", str(self.file)], stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                env=self.environment, preexec_fn=self.preexec, cwd=self.folder,
            )
        return self.wait() if wait else self

    def wait(self):
        def ready():
            assert self.process.poll() is None, f"sluice ended with {self.process.returncode}: {self.said()}"
            return accepts(self.port) and self.is_ready()

        until(ready, f"the gateway is ready: {self.said()}")
        return self

    def is_ready(self):
        try:
            return ask(self.admin, path="/readyz", timeout=2).status == 200
        except (OSError, EOFError):
            return False

    def said(self):
        return self.errors.read_text(errors="replace") + self.output.read_text(errors="replace")[-2000:]

    def log(self):
        """The access log so far, as objects."""
        lines = self.output.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def metrics(self):
        from prometheus_client.parser import text_string_to_metric_families

        reply = ask(self.admin, path="/metrics")
        assert reply.status == 200
        return {family.name: family for family in text_string_to_metric_families(reply.body.decode())}

    def resident_bytes(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self, content=None):
        """Writes the file anew, sends SIGHUP and waits until the process has said something about it."""
        if content is not None:
            self.write(content)
        before = len(self.said())
        self.signal(SIGHUP)
        until(lambda: len(self.said()) > before, "the gateway says what it did with the file")

    def wait_for_port(self):
        until(lambda: accepts(self.port), f"the gateway takes connections: {self.said()}")
        return self

    def apply(self, content, wait=True, **parameters):
        """Makes `content` the next revision of this node's cluster, and waits until all of its nodes serve under it. Returns
        the number of the revision."""
        query = urllib.parse.urlencode(parameters)
        reply = ask(
            self.admin, "PUT", f"/v1/config?{query}", headers=[("Content-Type", "application/json")],
            body=(content if isinstance(content, str) else json.dumps(content)).encode(),
        )
        assert reply.status == 200, reply.body
        revision = reply.json()["revision"]
        if wait:
            until(lambda: self.standing(revision)["complete"], "all nodes have the revision")
        return revision

    def standing(self, revision):
        """What the nodes of the cluster do with a revision."""
        reply = ask(self.admin, path=f"/v1/config/revisions/{revision}")
        assert reply.status == 200, reply.body
        return reply.json()

    def stop(self, number=SIGTERM, seconds=20):
        if self.process and self.process.poll() is None:
            self.signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the gateway did not end within {seconds} s")
        return self.process.returncode if self.process else None

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# --- Redis -------------------------------------------------------------------------------------------------------------


class Redis:
    """A redis-server of its own, on a port of its own, that keeps nothing on disk; ended with the test."""

    def __init__(self, folder, *options):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.options = options
        self.process = None
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        # A copy: sentinels have servers write their files anew.
        file = shutil.copy(ROOT / "cluster/config/redis.conf", self.folder / f"redis-{self.port}.conf")
        command = ["redis-server", str(file), "--port", str(self.port), "--dir", str(self.folder)]
        with open(self.folder / f"redis-{self.port}.log", "ab") as log:
            self.process = subprocess.Popen([*command, *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self.answers(), "redis-server answers")
        return self

    def answers(self):
        try:
            return self.ask("PING") == "+PONG"
        except OSError:
            return False

    def ask(self, *words):
        """What it says to a command: a line, bytes, or a list of these."""
        with socket.create_connection(("127.0.0.1", self.port), 1) as s:
            s.sendall(f"{' '.join(words)}\r\n".encode())
            return self.answer(s.makefile("rb"))

    def answer(self, file):
        line = file.readline().decode().strip()
        if line.startswith("*"):
            return [self.answer(file) for _ in range(int(line[1:]))]
        return file.read(int(line[1:]) + 2)[:-2] if line.startswith("$") else line

    def commands(self):
        """How many commands it has run."""
        return int(re.search(rb"total_commands_processed:(\d+)", self.ask("INFO", "stats"))[1])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(SIGSTOP)

    def resume(self):
        self.process.send_signal(SIGCONT)

    def close(self):
        if self.process.poll() is None:
            self.kill()


def sluice(*arguments, **options):
    """A verb run to its end."""
    return subprocess.run(
        [str(SLUICE), *map(str, arguments)], capture_output=True, text=True, timeout=options.pop("timeout", 30), **options
    )
