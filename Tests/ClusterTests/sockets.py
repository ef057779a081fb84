"""Raw sockets of the end-to-end tests: messages as they lie on the wire, and waiting with a deadline."""

import json
import socket
import time
from dataclasses import dataclass, field

PATIENCE = 10.0


def until(condition, what, seconds=PATIENCE):
    """Polls until `condition()` is true and returns its value; fails with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


# --- Messages as bytes -------------------------------------------------------------------------------------------------


@dataclass
class Message:
    start: str
    fields: list
    body: bytes = b""
    trailers: list = field(default_factory=list)
    complete: bool = True  # the framing said that this was all

    @property
    def status(self):
        return int(self.start.split()[1])

    @property
    def method(self):
        return self.start.split()[0]

    @property
    def target(self):
        return self.start.split()[1]

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name, default=None):
        return (self.values(name) or [default])[0]

    def json(self):
        return json.loads(self.body)


class Closing:
    """Whoever has a `socket`, which ends with a `with`."""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Stream(Closing):
    """A connected socket with a buffer, reading HTTP/1.1 the plain way."""

    def __init__(self, connection):
        self.socket = connection
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def fill(self):
        part = self.socket.recv(65536)
        self.buffer += part
        return bool(part)

    def line(self):
        while b"\r\n" not in self.buffer:
            if not self.fill():
                raise EOFError(f"ended within a line: {self.buffer[:200]!r}")
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("latin-1")

    def exactly(self, count):
        while len(self.buffer) < count and self.fill():
            pass
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def head(self):
        """The next head, or None where the stream ends before one begins."""
        while not self.buffer:
            if not self.fill():
                return None
        start, fields = self.line(), []
        while line := self.line():
            name, _, value = line.partition(":")
            fields.append((name, value.strip(" \t")))
        return Message(start, fields)

    def chunks(self, message):
        while True:
            try:
                size = int(self.line().split(";")[0], 16)
            except EOFError:
                message.complete = False
                return
            if size == 0:
                while line := self.line():
                    name, _, value = line.partition(":")
                    message.trailers.append((name, value.strip(" \t")))
                return
            data = self.exactly(size)
            message.body += data
            if len(data) < size or self.exactly(2) != b"\r\n":
                message.complete = False
                return

    def body(self, message, until_close):
        if message.get("Transfer-Encoding", "").lower() == "chunked":
            self.chunks(message)
        elif (length := message.get("Content-Length")) is not None:
            message.body = self.exactly(int(length))
            message.complete = len(message.body) == int(length)
        elif until_close:
            while self.fill():
                pass
            message.body, self.buffer = self.buffer, b""
        return message

    def request(self):
        """The next request, as a server that honours `Expect` reads it."""
        head = self.head()
        if head and head.get("Expect", "").lower() == "100-continue":
            self.send("HTTP/1.1 100 Continue\r\n\r\n")
        return head and self.body(head, until_close=False)

    def response(self, method="GET", informational=False):
        """The next final response (the next of any kind with `informational`)."""
        while True:
            head = self.head()
            if head is None:
                raise EOFError("closed without a response")
            if head.status >= 200 or head.status == 101 or informational:
                break
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            return head
        return self.body(head, until_close=True)

    def rest(self):
        """Everything until the peer closes; a reset counts as a close."""
        try:
            while self.fill():
                pass
        except ConnectionResetError:
            pass
        data, self.buffer = self.buffer, b""
        return data

    def is_closed(self, seconds=PATIENCE):
        """Does the peer close without another byte?"""
        self.socket.settimeout(seconds)
        try:
            return not self.buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


def connect(port, timeout=PATIENCE):
    return Stream(socket.create_connection(("127.0.0.1", port), timeout))


def ask(port, method="GET", path="/", headers=(), body=b"", host="localhost", timeout=PATIENCE):
    """One request on a connection of its own."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    with connect(port, timeout) as stream:
        stream.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}{lines}\r\n".encode() + body)
        return stream.response(method)
