"""A job's end of the channel to its worker: datagrams that never wait and never raise."""

from __future__ import annotations

import contextlib
import os
import socket

from mindbot_worker import job_beats


class Outbox:
    """Sends to the worker's socket at `path`; what finds no room there is dropped, and the next report says it all."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._opened_by = 0

    def send(self, datagram: bytes, *fds: int) -> bool:
        """`fds` go along: the worker gets descriptors of its own for the same files."""
        try:
            self._connected().sendmsg([datagram], job_beats.rights(*fds))
        except OSError:
            return False
        return True

    def _connected(self) -> socket.socket:
        if self._socket is None or self._opened_by != os.getpid():
            fresh = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                fresh.connect(self._path)
            except OSError:
                fresh.close()
                raise
            self._socket, self._opened_by = fresh, os.getpid()
        return self._socket

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None
