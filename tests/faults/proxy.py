"""A proxy before a PostgreSQL server: it passes everything on, until it is told to cut, to hang, or to keep the answer
to a COMMIT to itself."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.engine import URL


class Proxy:
    """Listens on the loopback device for connections to a server that stands behind a Unix socket or a port."""

    def __init__(self, server: URL) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.flowing = threading.Event()
        self.flowing.set()
        self.drop_answers = 0
        self.dropped = self.cuts = 0
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def url(self, **query: str) -> str:
        """The URL of the database behind it."""
        plain = self._server.set(host="127.0.0.1", port=self._port, query={"sslmode": "disable", **query})
        return plain.render_as_string(hide_password=False)

    def cut(self) -> None:
        """Cut every connection."""
        self.cuts += 1
        for pair in list(self._pairs):
            _close(*pair)
        self._pairs.clear()

    def refuse(self, seconds: float) -> None:
        """Refuse every new connection for a while."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

        def again() -> None:
            time.sleep(seconds)
            self._listener = socket.create_server(("127.0.0.1", self._port))
            self._accept(self._listener)

        threading.Thread(target=again, daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = self._connected()
                self._pairs.append((client, server))
                deaf = threading.Event()
                threading.Thread(target=self._to_server, args=(client, server, deaf), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client, deaf), daemon=True).start()

    def _connected(self) -> socket.socket:
        folder = self._server.query.get("host")
        if self._server.host is None and isinstance(folder, str) and folder.startswith("/"):
            made = socket.socket(socket.AF_UNIX)
            made.connect(f"{folder}/.s.PGSQL.{self._server.port or 5432}")
            return made
        return socket.create_connection((self._server.host or "127.0.0.1", self._server.port or 5432))

    def _to_server(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        with suppress(OSError):
            while content := client.recv(65536):
                self.flowing.wait()
                if b"COMMIT\0" in content and self.drop_answers:
                    self.drop_answers -= 1
                    deaf.set()
                server.sendall(content)
        _close(client, server)

    def _to_client(self, server: socket.socket, client: socket.socket, deaf: threading.Event) -> None:
        with suppress(OSError):
            while content := server.recv(65536):
                self.flowing.wait()
                if deaf.is_set():
                    self.dropped += 1
                    break
                client.sendall(content)
        _close(client, server)

    def close(self) -> None:
        """Cut everything, and listen no more."""
        self.flowing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def proxy(server: URL) -> Iterator[Proxy]:
    """A proxy before a server, until the block ends."""
    made = Proxy(server)
    try:
        yield made
    finally:
        made.close()
