"""A client of HTTP/2 for the end-to-end tests: requests by way of `h2`, and frames as bytes for what `h2` would not send."""

import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import hpack

from sockets import PATIENCE, Closing

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass
class Reply:
    fields: dict = field(default_factory=dict)
    body: bytes = b""
    trailers: dict = field(default_factory=dict)
    informational: list = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self):
        return int(self.fields[":status"])


def text(fields):
    return {
        (k.decode() if isinstance(k, bytes) else k): (v.decode("latin-1") if isinstance(v, bytes) else v) for k, v in fields
    }


class Connection(h2.connection.H2Connection):
    """Where `h2` takes any GOAWAY for the end, this goes on: streams that run may finish (RFC 9113 section 6.8)."""

    def _receive_goaway_frame(self, received):
        state = self.state_machine.state
        result = super()._receive_goaway_frame(received)
        self.state_machine.state = state
        return result


class Client(Closing):
    """One connection; `replies` by the number of the stream. Without `context`, HTTP/2 begins with prior knowledge."""

    def __init__(self, port, context=None, reads=True, timeout=PATIENCE, source=None, first=b""):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, source_address=source)
        if first:
            self.socket.sendall(first)
        if context:
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
        self.connection = Connection(config)
        self.connection.initiate_connection()
        self.replies = {}
        self.leaving = []  # the last streams that GOAWAY frames have named, with their codes
        self.reads = reads  # opens windows as bytes come
        self.closed = False
        self.settings = {}
        self.flush()

    def flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def begin(self, path="/", method="GET", *fields, ends=True, authority="localhost", scheme="http"):
        stream = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
        self.connection.send_headers(stream, [*pseudo, *fields], end_stream=ends)
        self.replies[stream] = Reply()
        self.flush()
        return stream

    def send(self, stream, data, ends=False):
        """Sends a body, as far as windows let it, waiting where they do not."""
        reply = self.replies[stream]
        while data:
            if reply.reset is not None:
                return  # nobody wants the rest
            window = min(
                self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size, len(data))
            if window == 0:
                self.pump()
                continue
            self.connection.send_data(stream, data[:window])
            data = data[window:]
            self.flush()
        if ends and reply.reset is None:
            self.connection.end_stream(stream)
            self.flush()

    def pump(self):
        """Takes what comes next; false at the end of the connection."""
        try:
            received = self.socket.recv(65_536)
        except (ConnectionResetError, ssl.SSLError):
            received = b""
        if not received:
            self.closed = True
            return False
        for event in self.connection.receive_data(received):
            self.take(event)
        try:
            self.flush()
        except OSError:
            pass
        return True

    def take(self, event):
        reply = self.replies.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ConnectionTerminated):
            self.leaving.append((event.last_stream_id, event.error_code))
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings.update({int(k): v.new_value for k, v in event.changed_settings.items()})
        if reply is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            reply.fields = text(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            reply.informational.append(text(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            reply.body += event.data
            if self.reads:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            reply.trailers = text(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            reply.ended = True
        elif isinstance(event, h2.events.StreamReset):
            reply.reset = event.error_code

    def until(self, condition, what="", seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            assert self.pump() or condition(), f"the connection ended before: {what}"

    def finish(self, stream, seconds=PATIENCE):
        reply = self.replies[stream]
        self.until(lambda: reply.ended or reply.reset is not None, f"stream {stream} ends: {reply}", seconds)
        return reply

    def ask(self, path="/", method="GET", *fields, body=None, **options):
        stream = self.begin(path, method, *fields, ends=body is None, **options)
        if body is not None:
            self.send(stream, body, ends=True)
        return self.finish(stream)


# --- Frames as bytes ---------------------------------------------------------------------------------------------------


def frame(type, stream=0, payload=b"", flags=0):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", type, flags, stream) + payload


def block(*fields):
    """A field block whose values may be anything."""
    return hpack.Encoder().encode(list(fields))


def request(stream, *fields, path="/", method="GET", flags=END_HEADERS | END_STREAM):
    pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    return frame(HEADERS, stream, block(*pseudo, *fields), flags)


class Frames(Closing):
    """A connection as frames: what is sent is what was given."""

    def __init__(self, port, timeout=PATIENCE):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.buffer = b""
        self.send(PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=1))

    def send(self, data):
        self.socket.sendall(data)

    def next(self):
        """The next frame, as type, flags, stream and payload; None at the end of the connection."""
        try:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
                part = self.socket.recv(65_536)
                if not part:
                    return None
                self.buffer += part
        except ConnectionResetError:
            return None
        length = int.from_bytes(self.buffer[:3], "big")
        type, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
        return type, flags, stream, payload

    def end(self):
        """How the other side ends: the code of its last GOAWAY, None where there was none."""
        code = None
        while frame := self.next():
            if frame[0] == GOAWAY:
                code = int.from_bytes(frame[3][4:8], "big")
        return code

    def reset(self, stream):
        """The code with which the other side resets the stream; fails where it answers."""
        while frame := self.next():
            if frame[0] == RST_STREAM and frame[2] == stream:
                return int.from_bytes(frame[3], "big")
            assert not (frame[0] == HEADERS and frame[2] == stream), "it was answered"
        raise AssertionError("the connection ended")
