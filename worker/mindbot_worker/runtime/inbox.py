"""Receives reports of a worker's job processes, and the supervisor's requests for warm ones, on a datagram socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from mindbot_worker.protocol import job_beats, worker_inbox
from mindbot_worker.protocol.job_reports import SIZE_MAX, Report, decode

_PATH_MAX = 107
"""Bytes of a path that fit into sockaddr_un."""
_AT_ONCE = 256
"""How many datagrams are read before the loop gets its turn again."""
_FORMER_MAX = 4
"""How many sockets are still read after their name was removed: running jobs go on reporting to them."""


class Inbox:
    """The worker's socket in the runtime directory: bound at once, read after `listen`."""

    def __init__(self, directory: Path | None, name: str) -> None:
        self._private: Path | None = None
        self.path = self._choose(directory, name)
        self.rejected = 0
        self.job_beats = job_beats.JobBeats()
        self._deliver: Callable[[Report], None] = lambda _: None
        self._prepare: Callable[[int], None] = lambda _: None
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()  # of a worker that had our pid and name
        self._sockets = [self._bind()]

    def _bind(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # the kernel tells who sends
            os.fchmod(made.fileno(), 0o600)  # Linux gives the file the mode of the socket, less the umask
            made.bind(str(self.path))
        except OSError:
            made.close()
            raise
        self._identity = _identity_of(self.path)
        return made

    def _choose(self, directory: Path | None, name: str) -> Path:
        file = worker_inbox.file_name(name, os.getpid())
        if directory is not None and directory.is_dir() and len(os.fsencode(directory / file)) <= _PATH_MAX:
            path = directory / file
            if path.is_socket() or _identity_of(path) is None:
                return path
        self._private = Path(tempfile.mkdtemp(prefix="mindbot-", dir="/tmp"))
        return self._private / "jobs.sock"

    def listen(
        self, loop: asyncio.AbstractEventLoop, deliver: Callable[[Report], None], prepare: Callable[[int], None]
    ) -> None:
        """Hand every report to `deliver`, and to `prepare` how many job processes the supervisor wants to be warm.
        (uvloop has no datagram endpoint for Unix sockets.)
        """
        self._deliver, self._prepare, self._loop = deliver, prepare, loop
        for each in self._sockets:
            loop.add_reader(each.fileno(), self._read, each)

    def restore_name(self) -> None:
        """Bind a new socket if the name was removed: new jobs would not find the old one. Called before each beat."""
        if self._loop is None or self.path.exists():
            return
        with contextlib.suppress(OSError):  # its directory may come back later
            fresh = self._bind()
            self._loop.add_reader(fresh.fileno(), self._read, fresh)
            self._sockets.append(fresh)
        for former in self._sockets[: -_FORMER_MAX - 1]:
            self._loop.remove_reader(former.fileno())
            former.close()
        self._sockets = self._sockets[-_FORMER_MAX - 1 :]

    def read(self) -> None:
        """Read what has arrived. Called before the exit of a job process is judged."""
        for each in self._sockets:
            self._read(each)

    def _read(self, source: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                datagram, beside, _, _ = source.recvmsg(SIZE_MAX, job_beats.SPACE, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return
            pid, file = job_beats.sender_and_file(beside)
            if file is not None:
                self.rejected += not self._take_file(datagram, pid, file)
            elif (wanted := worker_inbox.processes(datagram)) is not None:
                self._prepare(wanted)
            elif (report := decode(datagram)) is not None:
                self._deliver(report)
            else:
                self.rejected += 1

    def close(self) -> None:
        """Read no more."""
        for each in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(each.fileno())
            each.close()
        self._sockets = []

    def _take_file(self, datagram: bytes, pid: int, file: int) -> bool:
        if datagram == job_beats.HELLO:
            return self.job_beats.take(pid, file)
        os.close(file)
        return False

    def unlink(self) -> None:
        if _identity_of(self.path) == self._identity:
            with contextlib.suppress(OSError):
                self.path.unlink()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)


def _identity_of(path: Path) -> tuple[int, int] | None:
    """Device and inode of what has this name; None where there is nothing."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
