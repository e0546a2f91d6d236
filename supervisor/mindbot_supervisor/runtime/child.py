"""Starting a worker process, and knowing when it ends: its pipes, its pidfd, its exit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mindbot_supervisor.core.model import Exit
from mindbot_worker import wire

OUTPUT_PIPE_BYTES = 256 * 1024
"""Room for a burst of output while the daemon is busy; the kernel's default is a quarter of it."""


@dataclass(slots=True)
class Child:
    """A running child. The descriptors are ours: non-blocking, closed on exec."""

    pid: int
    pidfd: int
    beats: int
    leash: int
    output: int
    _popen: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    """None for a child that an earlier version of this program started."""

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process; none if it is gone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> Exit | None:
        """How it ended, or None while it runs. The zombie is gone afterwards."""
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        if result is None:
            return None
        if self._popen is not None:
            self._popen.returncode = 0  # reaped here: Popen must never wait for this pid again
        if result.si_code == os.CLD_EXITED:
            return Exit(code=result.si_status)
        return Exit(signal=result.si_status)

    def close(self) -> None:
        for fd in (self.pidfd, self.beats, self.leash, self.output):
            with contextlib.suppress(OSError):
                os.close(fd)


def spawn(command: Sequence[str], environ: Mapping[str, str]) -> Child:
    """Start `command` in a session of its own, with heartbeat and leash pipes. Raises OSError."""
    ours: list[int] = []
    theirs: list[int] = []
    try:
        beats, heartbeat = _pipe(ours, theirs)
        output, stdout = _pipe(ours, theirs)
        held, leash = _pipe(theirs, ours)
        with contextlib.suppress(OSError):  # a limit on pipe memory for this user: the default size does as well
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, OUTPUT_PIPE_BYTES)
        popen = subprocess.Popen(
            command,
            env={**environ, wire.HEARTBEAT_FD: str(heartbeat), wire.LEASH_FD: str(held)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stdout,
            pass_fds=(heartbeat, held),
            start_new_session=True,
        )
    except BaseException:
        _close(ours)
        raise
    finally:
        _close(theirs)
    try:
        pidfd = os.pidfd_open(popen.pid)
    except OSError:  # out of descriptors: a child that cannot be watched must not run
        popen.kill()
        popen.wait()
        _close(ours)
        raise
    unblock(beats, output)
    return Child(popen.pid, pidfd, beats, leash, output, popen)


def _pipe(readers: list[int], writers: list[int]) -> tuple[int, int]:
    """A pipe whose ends are noted with those who own them, for closing."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    readers.append(reader)
    writers.append(writer)
    return reader, writer


def unblock(*fds: int) -> None:
    for fd in fds:
        os.set_blocking(fd, False)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
