"""The way to a real server, which can be shut or made silent, while the server itself runs on.

Shut, connections break and new ones are refused, as where its process was killed: the S3 server of these tests keeps its objects in
memory. Silent, what is open carries nothing any more and nobody is told, as where a router forgot a connection; new ones work.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from chaos_processes import free_port

# Close with a reset and send nothing more.
RESET = struct.pack("ii", 1, 0)


class ServerGate:
    """Passes bytes both ways between `url` and the server; counts the connections that a shutting broke."""

    def __init__(self, target: str) -> None:
        where = urlsplit(target)
        self._target, self.port = (where.hostname or "", where.port or 80), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.num_broken = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._silent: set[socket.socket] = set()
        self._shut_at_next_s: float | None = None
        self.has_reopened = threading.Event()
        self._listener = self._listen()

    def shut(self) -> None:
        """Refuse, and break what is open; nothing where it is shut."""
        if self._listener.fileno() < 0:
            return
        # Only this wakes the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            broken, self._open = self._open, set()
        for connection in broken:
            self._break(connection)
        # Each connection is two sockets.
        self.num_broken += len(broken) // 2

    def reopen(self) -> None:
        self._listener = self._listen()
        self.has_reopened.set()

    def silence(self) -> int:
        """Let what is open carry nothing any more; gives how many connections these are."""
        with self._lock:
            self._silent |= self._open
        return len(self._silent) // 2

    def shut_at_next(self, seconds: float) -> None:
        """Shut for so long as soon as somebody connects."""
        self.has_reopened.clear()
        self._shut_at_next_s = seconds

    def _listen(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            with self._lock:
                self._open |= {client, server}
            if self._shut_at_next_s is not None:
                threading.Timer(self._shut_at_next_s, self.reopen).start()
                self._shut_at_next_s = None
                self.shut()
                return
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        """Both ways to their ends; a reset here would take from the client what it has not read yet."""
        back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
        back.start()
        self._pass(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(2**16):
                if source not in self._silent:
                    sink.sendall(content)
            if source not in self._silent:
                sink.shutdown(socket.SHUT_WR)

    @staticmethod
    def _break(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.shutdown(socket.SHUT_RD)
        connection.close()


@contextlib.contextmanager
def server_gate(target: str) -> Iterator[ServerGate]:
    gate = ServerGate(target)
    try:
        yield gate
    finally:
        gate.shut()
