"""First come, first served across all processes of a host, kept by the kernel: a queue of byte locks in one file.

A ticket is the locked byte at the offset that was the host's monotonic time, in nanoseconds, when it was drawn. It is
its holder's turn once fewer than `count` locked bytes lie before it. Nobody can come in front of a ticket that was
drawn, so at most `count` have their turn at any time; and with a process the kernel takes its locks, and its place.
The file itself stays empty: there is nothing in it that could be wrong.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from pathlib import Path

from mindbot_worker.descriptors import Descriptor

_FLOCK = "hhqqi4x"
"""struct flock: type, whence, start, length, pid."""
_DOOR = 0
"""The byte that is locked while a ticket is drawn, for microseconds: whoever has it can be overtaken by nobody."""


class Ticket:
    """A place in the queue, from its drawing until `give_back`, which may be called twice."""

    def __init__(self, file: Descriptor, number: int) -> None:
        self._file, self._number = file, number

    def has_turn(self, count: int) -> bool:
        """Whether fewer than `count` are before this one."""
        before, unknown = 0, [(_DOOR + 1, self._number)]
        while unknown:
            start, end = unknown.pop()
            if start >= end or (found := _first_lock(self._file.fileno(), start, end)) is None:
                continue
            before += 1
            if before == count:
                return False
            unknown += [(start, found), (found + 1, end)]
        return True

    def give_back(self) -> None:
        self._file.close()


def draw(file: Path) -> Ticket | None:
    """The next ticket; None while another is being drawn. Raises OSError where there is no such directory."""
    # each ticket has a descriptor of its own: that is whom the kernel takes for the owner of a lock
    opened = Descriptor(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    fd = opened.fileno()
    try:
        if not _lock(fd, _DOOR):
            opened.close()
            return None
        number = time.monotonic_ns()
        if not _lock(fd, number):
            raise OSError(f"byte {number} of {file} is locked by somebody else")
        _set(fd, fcntl.F_UNLCK, _DOOR)
    except BaseException:
        opened.close()
        raise
    return Ticket(opened, number)


def _lock(fd: int, offset: int) -> bool:
    with contextlib.suppress(BlockingIOError, PermissionError):  # POSIX allows both answers
        _set(fd, fcntl.F_WRLCK, offset)
        return True
    return False


def _set(fd: int, kind: int, offset: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, offset, 1, 0))


def _first_lock(fd: int, start: int, end: int) -> int | None:
    """The offset of some locked byte from `start` on and before `end`."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, end - start, 0)
    kind, _, found, _, _ = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(found)
