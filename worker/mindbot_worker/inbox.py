"""The worker's end of the channel on which its job processes report, and the supervisor gives a hint now and then: a
datagram socket in the runtime directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from mindbot_worker import job_beats, wire_inbox
from mindbot_worker.reports import SIZE_MAX, Report, decode

_PATH_MAX = 107
"""What fits into sockaddr_un."""
_AT_ONCE = 256
"""So many datagrams are read before the loop gets its turn again."""


class Inbox:
    """Bound at once, read when `listen` says so: a job's report waits in the socket meanwhile."""

    def __init__(self, directory: Path | None, name: str) -> None:
        self._private: Path | None = None
        self.path = self._choose(directory, name)
        self.rejected = 0
        self.job_beats = job_beats.JobBeats()
        self._deliver: Callable[[Report], None] = lambda _: None
        self._prepare: Callable[[int], None] = lambda _: None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # the kernel tells who sends
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._socket.bind(str(self.path))
        self.path.chmod(0o600)

    def _choose(self, directory: Path | None, name: str) -> Path:
        file = wire_inbox.file_name(name, os.getpid())
        if directory is not None and directory.is_dir() and len(os.fsencode(directory / file)) <= _PATH_MAX:
            return directory / file
        self._private = Path(tempfile.mkdtemp(prefix="mindbot-", dir="/tmp"))
        return self._private / "jobs.sock"

    def listen(
        self, loop: asyncio.AbstractEventLoop, deliver: Callable[[Report], None], prepare: Callable[[int], None]
    ) -> None:
        """Hand every report to `deliver`, and to `prepare` how many job processes the supervisor wants to be warm.
        (uvloop has no datagram endpoint for Unix sockets.)
        """
        self._deliver, self._prepare = deliver, prepare
        loop.add_reader(self._socket.fileno(), self.read)

    def read(self) -> None:
        """Take what has arrived; called by the loop, and before a job is judged by its exit."""
        for _ in range(_AT_ONCE):
            try:
                datagram, beside, _, _ = self._socket.recvmsg(SIZE_MAX, job_beats.SPACE, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return
            pid, file = job_beats.sender_and_file(beside)
            if file is not None:
                self.rejected += not self._take_file(datagram, pid, file)
            elif (wanted := wire_inbox.processes(datagram)) is not None:
                self._prepare(wanted)
            elif (report := decode(datagram)) is not None:
                self._deliver(report)
            else:
                self.rejected += 1

    def _take_file(self, datagram: bytes, pid: int, file: int) -> bool:
        if datagram == job_beats.HELLO:
            return self.job_beats.take(pid, file)
        os.close(file)
        return False

    def unlink(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
