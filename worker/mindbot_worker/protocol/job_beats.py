"""Lets a worker see when the event loop of each job process last ran: the job stamps the time into a shared file.

The file has no name (memfd), so nothing of it outlives the two processes; and reading it needs no message, so a worker
that was stopped knows the newest stamp at once when it goes on.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from typing import Any

HELLO = b"beats"
"""The datagram with which a job process sends its worker the file; the kernel tells the sender's pid."""
MOST = 1024
"""How many files a worker keeps at most: far more than it has job processes."""

_TIME = struct.Struct("=d")
"""Seconds of the host's monotonic clock."""
_CREDENTIALS = struct.Struct("=iII")
"""struct ucred: pid, uid, gid."""
SPACE = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(array.array("i").itemsize)
"""Bytes for what comes beside a datagram: who sent it, and one descriptor."""


def new_file() -> int:
    """Make a file in memory for the stamps of this process. Raises OSError where no descriptor is left."""
    return os.memfd_create("mindbot-job-beat", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def stamp(fd: int, now: float) -> None:
    """Write the time of the host's monotonic clock into the file."""
    os.pwrite(fd, _TIME.pack(now), 0)


def read(fd: int) -> float | None:
    """The last stamp; None where there is none. Read twice, as a stamp may be written at this moment."""
    for _ in range(3):
        first, second = os.pread(fd, _TIME.size, 0), os.pread(fd, _TIME.size, 0)
        if first == second:
            return float(_TIME.unpack(first)[0]) if len(first) == _TIME.size else None
    return None


def sender_and_file(ancillary: Iterable[tuple[int, int, bytes]]) -> tuple[int, int | None]:
    """The pid of a datagram's sender, 0 if the kernel does not tell it, and the descriptor that came along."""
    pid, file = 0, None
    for level, kind, data in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
            pid = _CREDENTIALS.unpack_from(data)[0]
        elif kind == socket.SCM_RIGHTS:
            fds = array.array("i")
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            for fd in fds:
                if file is None:
                    file = fd
                else:
                    os.close(fd)
    return pid, file


class JobBeats:
    """The files of a worker's job processes, by pid. It owns their descriptors."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}

    def take(self, pid: int, fd: int) -> bool:
        """Keep the file of this process; one that could make a reader wait, or that nobody sent, is closed."""
        if pid <= 0 or not _is_memory(fd):
            os.close(fd)
            return False
        self.forget(pid)
        self._files[pid] = fd
        while len(self._files) > MOST:
            self.forget(next(iter(self._files)))
        return True

    def last(self, pid: int) -> float | None:
        """When the loop of this process last stamped, on the monotonic clock; None if that is not known."""
        fd = self._files.get(pid)
        return None if fd is None else read(fd)

    def forget(self, pid: int | None) -> None:
        fd = self._files.pop(pid, None) if pid is not None else None
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        for pid in list(self._files):
            self.forget(pid)


def _is_memory(fd: int) -> bool:
    """Whether a descriptor is a memfd: any program of our user can send one, and reading some would block."""
    with contextlib.suppress(OSError):
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) >= 0
    return False


def rights(*fds: int) -> list[tuple[int, int, Any]]:
    """The ancillary data that sends these descriptors along with a datagram."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
