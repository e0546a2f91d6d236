"""Where workers whose daemon died bring their output: a socket in the runtime directory, always of the same name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .output import Output

NAME = "output.sock"
READ_BYTES = 64 * 1024
GUESTS_MAX = 256


@dataclass(slots=True)
class _Guest:
    connection: socket.socket
    output: Output | None = None


class Rejoin:
    """Takes connections of our own user only; the first line of each says which leftover it comes from.

    `output_of` makes the reader of a leftover's lines, or returns None for a name that is none.
    """

    def __init__(self, runtime_dir: Path, output_of: Callable[[str], Output | None]) -> None:
        self._path = runtime_dir / NAME
        self._output_of = output_of
        self._loop = asyncio.get_running_loop()
        self._guests: dict[int, _Guest] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def start(self) -> None:
        """Without the socket only lines of leftovers are lost, so a failure is no reason not to start."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._listener.bind(str(self._path))
            self._path.chmod(0o600)
            self._listener.listen(64)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for fd in list(self._guests):
            self._leave(fd)
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        uid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid != os.geteuid() or len(self._guests) >= GUESTS_MAX:
            connection.close()
            return
        connection.setblocking(False)
        self._guests[connection.fileno()] = _Guest(connection)
        self._loop.add_reader(connection.fileno(), self._read, connection.fileno())

    def _read(self, fd: int) -> None:
        guest = self._guests[fd]
        try:
            data = guest.connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or not self._take(guest, data):
            self._leave(fd)

    def _take(self, guest: _Guest, data: bytes) -> bool:
        """False for somebody who does not belong here."""
        if guest.output is None:
            hello, newline, data = data.partition(b"\n")
            guest.output = self._output_of(_name(hello)) if newline else None
        if guest.output is None:
            return False
        guest.output.feed(data, time.monotonic())
        return True

    def _leave(self, fd: int) -> None:
        guest = self._guests.pop(fd)
        self._loop.remove_reader(fd)
        guest.connection.close()
        if guest.output is not None:
            guest.output.close(time.monotonic())


def _name(hello: bytes) -> str:
    try:
        found = json.loads(hello)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("worker", "")) if isinstance(found, dict) else ""
