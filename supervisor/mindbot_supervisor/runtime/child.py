"""Starting a worker process, and knowing when it ends: its pipes, its pidfd, its exit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
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
    """None for a child that an earlier version of this program started, or the template."""

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process; none if it is gone."""
        signal_to(self.pidfd, number)

    def reap(self) -> Exit | None:
        """How it ended, or None while it runs. The zombie is gone afterwards."""
        return reap(self.pidfd, self._popen)

    def close(self) -> None:
        for fd in (self.pidfd, self.beats, self.leash, self.output):
            with contextlib.suppress(OSError):
                os.close(fd)


@dataclass(slots=True)
class Pipes:
    """The three pipes between us and a worker: our ends, and the ends that it gets."""

    beats: int
    leash: int
    output: int
    heartbeat: int
    held: int
    stdout: int

    @classmethod
    def open(cls) -> Pipes:
        """Raises OSError when there are no descriptors left."""
        opened: list[int] = []
        try:
            for _ in range(3):
                opened += os.pipe2(os.O_CLOEXEC)
        except OSError:
            _close(opened)
            raise
        beats, heartbeat, held, leash, output, stdout = opened
        with contextlib.suppress(OSError):  # a limit on pipe memory for this user: the default size does as well
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, OUTPUT_PIPE_BYTES)
        unblock(beats, output)
        return cls(beats, leash, output, heartbeat, held, stdout)

    def theirs(self) -> tuple[int, int, int]:
        return self.heartbeat, self.held, self.stdout

    def close_theirs(self) -> None:
        _close(self.theirs())

    def close_ours(self) -> None:
        _close((self.beats, self.leash, self.output))

    def close(self) -> None:
        self.close_theirs()
        self.close_ours()

    def child(self, pid: int, popen: subprocess.Popen[bytes] | None = None) -> Child:
        """The child that got the other ends. Raises OSError when it cannot be watched."""
        return Child(pid, os.pidfd_open(pid), self.beats, self.leash, self.output, popen)


def spawn(command: Sequence[str], environ: Mapping[str, str]) -> Child:
    """Start `command` in a session of its own, with heartbeat and leash pipes. Raises OSError."""
    pipes = Pipes.open()
    try:
        popen = subprocess.Popen(
            command,
            env={**environ, wire.HEARTBEAT_FD: str(pipes.heartbeat), wire.LEASH_FD: str(pipes.held)},
            stdin=subprocess.DEVNULL,
            stdout=pipes.stdout,
            stderr=pipes.stdout,
            pass_fds=(pipes.heartbeat, pipes.held),
            start_new_session=True,
        )
    except BaseException:
        pipes.close_ours()
        raise
    finally:
        pipes.close_theirs()
    try:
        return pipes.child(popen.pid, popen)
    except OSError:  # out of descriptors: a child that cannot be watched must not run
        popen.kill()
        popen.wait()
        pipes.close_ours()
        raise


def signal_to(pidfd: int, number: int) -> None:
    """Send a signal to exactly this process; none if it is gone."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def reap(pidfd: int, popen: subprocess.Popen[bytes] | None) -> Exit | None:
    """How a child of ours ended, or None while it runs; `popen` is what started it, if this program did."""
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:  # it died before we knew of it, and was reaped as a stranger
        return Exit()
    if result is None:
        return None
    if popen is not None:
        popen.returncode = 0  # reaped here: Popen must never wait for this pid again
    if result.si_code == os.CLD_EXITED:
        return Exit(code=result.si_status)
    return Exit(signal=result.si_status)


def unblock(*fds: int) -> None:
    for fd in fds:
        os.set_blocking(fd, False)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
