"""A proxy before a real S3 server that hurts chosen requests: refusals, silence, resets, connections lost in the middle."""

import http.client
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

# What S3 answers, and what happens to a connection: `reset`, or `closed` in good order, before anything is forwarded, `cut_request` in the
# middle of the request's body, `lost_answer` after S3 has done it, `cut` in the middle of the answer's body.
Kind = Literal["500", "503", "403", "hang", "reset", "closed", "cut_request", "lost_answer", "cut"]

ANSWERS = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "403": (403, "AccessDenied", "Access Denied"),
}


@dataclass
class Fault:
    """Hurt the next `times` requests of this method whose path and query hold `part_of_url`."""

    kind: Kind
    method: str
    part_of_url: str = ""
    times: int = 1


@dataclass
class FaultyS3:
    """A running proxy: `url` is where clients go, `requests` what they asked, `faults` what is still to happen."""

    target: str
    bucket: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def hurt(self, kind: Kind, method: str, part_of_url: str = "", times: int = 1) -> None:
        """Inject a fault; earlier ones are used up first."""
        self.faults.append(Fault(kind, method, part_of_url, times))

    def count(self, method: str, part_of_url: str = "") -> int:
        """How many such requests have come."""
        return sum(asked == method and part_of_url in url for asked, url in self.requests)

    def begin(self, bucket: str) -> None:
        """Forget faults and requests, and let go of those that hang."""
        self._released.set()
        self._released = threading.Event()
        self.bucket, self.requests, self.faults = bucket, [], []

    def wait(self) -> None:
        """Wait, as a server does that hangs."""
        self._released.wait(60)

    def stop(self) -> None:
        """End."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def next_fault(self, method: str, url: str) -> Kind | None:
        """Note a request and use up the fault that is meant for it."""
        with self._lock:
            self.requests.append((method, url))
            for fault in self.faults:
                if fault.times and fault.method == method and fault.part_of_url in url:
                    fault.times -= 1
                    return fault.kind
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyS3

    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""

    def handle(self) -> None:
        # A client that has given up waiting is what some faults are for.
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def do_GET(self) -> None:
        kind = self.proxy.next_fault(self.command, self.path)
        num_bytes = int(self.headers.get("Content-Length", 0))
        if kind == "reset":
            self._reset()
            return
        if kind == "cut_request":
            self.rfile.read(num_bytes // 2)
            self._reset()
            return
        body = self.rfile.read(num_bytes)
        if kind in ("hang", "closed"):
            if kind == "hang":
                self.proxy.wait()
            self.close_connection = True
        elif kind in ANSWERS:
            status, code, message = ANSWERS[kind]
            self._answer(status, {}, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())
        else:
            self._forward(body, kind)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _forward(self, body: bytes, kind: Kind | None) -> None:
        target = urlsplit(self.proxy.target)
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if kind == "lost_answer":
            self._reset()
            return
        self._answer(answer.status, dict(answer.headers.items()), content, len(content) // 2 if kind == "cut" else None)

    def _answer(self, status: int, headers: dict[str, str], content: bytes, num_sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:num_sent])
            self.wfile.flush()
        if num_sent is not None:
            self._reset()

    def _reset(self) -> None:
        """Close with a TCP reset, as a crashed or overloaded machine does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()
        self.close_connection = True
