"""Takes the output of workers that a crashed daemon left behind, by a socket in the runtime directory."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mindbot_supervisor.control.connection_limits import Acceptor, is_reserved
from mindbot_supervisor.control.unix_and_tcp_sockets import UnixListener, listen, peer
from mindbot_supervisor.processes.pipes.rate_limited_reader import RateLimitedReader
from mindbot_supervisor.processes.pipes.worker_output import Output

NAME = "output.sock"
UNIDENTIFIED_MAX = 128
"""Connections that have not said yet which worker they come from."""
HELLO_TIMEOUT = 10.0
"""Seconds for a connection to say it."""
HELLO_MAX = 1024
"""Bytes of what it says."""
PER_WORKER_MAX = 8
"""Connections of one worker; its job processes may have some of their own. A further one takes the oldest's place."""
LOOK = 1.0
"""Seconds between two looks at who has not said it in time."""


@dataclass(slots=True)
class _Connection:
    connection: socket.socket
    since: float = field(default_factory=time.monotonic)
    reader: RateLimitedReader | None = None
    hello: bytes = b""
    worker: str = ""
    output: Output | None = None


class LeftoverOutput:
    """Takes connections of our own user only; the first line of each says which leftover it comes from.

    `output_of` makes the reader of a leftover's lines, or returns None for a name that is none.
    """

    def __init__(self, runtime_dir: Path, output_of: Callable[[str], Output | None]) -> None:
        self._path = runtime_dir / NAME
        self._output_of = output_of
        self._loop = asyncio.get_running_loop()
        self._connections: dict[int, _Connection] = {}
        self._listener: UnixListener | None = None
        self._acceptor: Acceptor | None = None
        self._timer: asyncio.TimerHandle | None = None

    def restore(self) -> list[str]:
        """Listen, if workers would not find our socket; its name where it had been there before.

        Raises Refused or BadConfig where something else has the name: only lines of leftovers are lost by that.
        """
        before = self._listener
        if before is not None and before.in_place:
            return []
        fresh = listen(self._path)
        self._stop_listening()
        self._listener, self._acceptor = fresh, Acceptor(fresh.socket, self._take)
        return [NAME] if before is not None else []

    def close(self) -> None:
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()
        for guest in list(self._connections.values()):
            self._leave(guest)

    def _stop_listening(self) -> None:
        if self._acceptor is not None and self._listener is not None:
            self._acceptor.stop()
            self._listener.remove()
            self._listener.socket.close()

    def _take(self, connection: socket.socket) -> None:
        if peer(connection)[1] != os.geteuid() or is_reserved(connection.fileno()):
            connection.close()
            return
        strangers = [guest for guest in self._connections.values() if guest.output is None]
        if len(strangers) >= UNIDENTIFIED_MAX:
            self._leave(strangers[0])
        guest = _Connection(connection)
        guest.reader = RateLimitedReader(connection, lambda data: self._feed(guest, data), lambda: self._leave(guest))
        self._connections[connection.fileno()] = guest
        guest.reader.start()
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        """Send away who has not said who it is."""
        due = time.monotonic() - HELLO_TIMEOUT
        for guest in list(self._connections.values()):
            if guest.output is None and guest.since < due:
                self._leave(guest)
        strangers = any(guest.output is None for guest in self._connections.values())
        self._timer = self._loop.call_later(LOOK, self._look) if strangers else None

    def _feed(self, guest: _Connection, data: bytes) -> int:
        """How many bytes were taken. Somebody who does not belong here is sent away."""
        taken = 0
        if guest.output is None:
            guest.hello += data
            hello, newline, rest = guest.hello.partition(b"\n")
            if not newline:
                if len(guest.hello) > HELLO_MAX:
                    self._leave(guest)
                return len(data)
            taken = len(data) - len(rest)
            guest.hello, guest.worker = b"", _name(hello[:HELLO_MAX])
            guest.output = self._output_of(guest.worker)
            self._keep_few(guest.worker)
        if guest.output is None:
            self._leave(guest)
            return len(data)
        return taken + guest.output.feed(data[taken:], time.monotonic())

    def _keep_few(self, worker: str) -> None:
        theirs = [each for each in self._connections.values() if each.output is not None and each.worker == worker]
        for guest in theirs[:-PER_WORKER_MAX]:
            self._leave(guest)

    def _leave(self, guest: _Connection) -> None:
        if self._connections.pop(guest.connection.fileno(), None) is None or guest.reader is None:
            return
        guest.reader.stop()
        if guest.output is not None:
            guest.output.feed_all(guest.reader.drain(), time.monotonic())
            guest.output.close(time.monotonic())
        guest.connection.close()


def _name(hello: bytes) -> str:
    try:
        found = json.loads(hello)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("worker", "")) if isinstance(found, dict) else ""
