"""Something at the control socket that is no daemon, or a bad one: it answers requests as a test says."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

Behaviour = Callable[[socket.socket, bytes], None]
"""Serves one connection, whose request has been read."""

STATUS = {
    "supervisor": {
        "version": "1",
        "pid": 1,
        "uptime": 1.0,
        "workers_wanted": 1,
        "held": None,
        "rollout": None,
        "mode": "command",
    },
    "workers": [],
    "calls": {"active": 0, "ended": 0, "lost": 0, "recovered": 0, "migrated": 0, "cut_by_us": 0},
}
"""The least that `status` may say."""


class FakeDaemon:
    """Listens at a path; `asked` is what was asked of it, as "METHOD /page". Every connection is served apart."""

    def __init__(self, path: Path, behaviour: Behaviour) -> None:
        self.path, self.asked = path, []
        self.connected = threading.Event()
        self._behaviour = behaviour
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            request = connection.recv(65536)
            self.asked.append(b" ".join(request.split()[:2]).decode("latin-1"))
            self.connected.set()
            self._behaviour(connection, request)

    def close(self) -> None:
        self._listener.close()
        for each in self._open:
            each.close()
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def serving(path: Path, behaviour: Behaviour) -> Iterator[FakeDaemon]:
    fake = FakeDaemon(path, behaviour)
    try:
        yield fake
    finally:
        fake.close()


def saying(answer: bytes) -> Behaviour:
    """These bytes, and then the end of the connection."""

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    return behave


def http(body: object, status: str = "200 OK") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.0 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def pages(**by_page: object) -> Behaviour:
    """The answer of each page by its name; what is asked besides is an empty object."""

    def behave(connection: socket.socket, request: bytes) -> None:
        name = request.split()[1].decode().lstrip("/").partition("?")[0]
        saying(http(by_page.get(name, {})))(connection, request)

    return behave


def silent(connection: socket.socket, _: bytes) -> None:
    """No answer, and no end of the connection."""
    connection.recv(1)
