"""Starts a child process with its pipes, and watches it: its pidfd, signals to it, its exit status."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mindbot_config.host.descriptors import Descriptor, close_all
from mindbot_supervisor.core.workers.model import Exit
from mindbot_worker.protocol.heartbeat import HEARTBEAT_FD, LEASH_FD

OUTPUT_PIPE_BYTES = 256 * 1024
"""Room for a burst of output while the daemon is busy; the kernel's default is a quarter of it."""


@dataclass(slots=True)
class Child:
    """A running child. The descriptors are ours: non-blocking, closed on exec."""

    pid: int
    pidfd: Descriptor
    beats: Descriptor
    leash: Descriptor
    output: Descriptor
    _popen: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    """None for a child that an earlier version of this program started, or the template."""

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process; none if it is gone."""
        signal_to(self.pidfd, number)

    def reap(self) -> Exit | None:
        """How it ended, or None while it runs. The zombie is gone afterwards."""
        return reap(self.pidfd, self._popen)

    def close(self) -> None:
        close_all(self.pidfd, self.beats, self.leash, self.output)


@dataclass(slots=True)
class Pipes:
    """The three pipes between us and a worker: our ends, and the ends that it gets."""

    beats: Descriptor
    leash: Descriptor
    output: Descriptor
    heartbeat: Descriptor
    held: Descriptor
    stdout: Descriptor

    @classmethod
    def open(cls) -> Pipes:
        """Open the three pipes. Raises OSError when there are no descriptors left."""
        opened: list[Descriptor] = []
        try:
            for _ in range(3):
                opened += pipe()
        except OSError:
            close_all(*opened)
            raise
        beats, heartbeat, held, leash, output, stdout = opened
        with contextlib.suppress(OSError):  # a limit on pipe memory for this user: the default size does as well
            fcntl.fcntl(output.fileno(), fcntl.F_SETPIPE_SZ, OUTPUT_PIPE_BYTES)
        unblock(beats, output)
        return cls(beats, leash, output, heartbeat, held, stdout)

    def theirs(self) -> tuple[int, int, int]:
        return self.heartbeat.fileno(), self.held.fileno(), self.stdout.fileno()

    def close_theirs(self) -> None:
        close_all(self.heartbeat, self.held, self.stdout)

    def close_ours(self) -> None:
        close_all(self.beats, self.leash, self.output)

    def close(self) -> None:
        self.close_theirs()
        self.close_ours()

    def child(self, pid: int) -> Child:
        """The child that was forked for us and got the other ends. Raises OSError, and has ended it: unwatched it must
        not run.
        """
        try:
            pidfd = Descriptor(os.pidfd_open(pid))
        except OSError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise
        return Child(pid, pidfd, self.beats, self.leash, self.output)


def spawn(
    command: Sequence[str], environ: Mapping[str, str], start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
) -> Child:
    """Start `command` in a session of its own, with heartbeat and leash pipes. Raises OSError."""
    pipes = Pipes.open()
    heartbeat, held, stdout = pipes.theirs()
    try:
        popen = start(
            command,
            env={**environ, HEARTBEAT_FD: str(heartbeat), LEASH_FD: str(held)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stdout,
            pass_fds=(heartbeat, held),
            start_new_session=True,
        )
    except BaseException:
        pipes.close_ours()
        raise
    finally:
        pipes.close_theirs()
    try:
        pidfd = watched(popen)
    except OSError:
        pipes.close_ours()
        raise
    return Child(popen.pid, pidfd, pipes.beats, pipes.leash, pipes.output, popen)


def watched(popen: subprocess.Popen[bytes]) -> Descriptor:
    """A pidfd of a process that was just started. Raises OSError, and has ended it: unwatched it must not run."""
    try:
        return Descriptor(os.pidfd_open(popen.pid))
    except OSError:
        popen.kill()
        popen.wait()
        raise


def pipe() -> tuple[Descriptor, Descriptor]:
    """A new pipe, closed on exec: the end to read from, and the end to write to. Raises OSError."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    return Descriptor(reading), Descriptor(writing)


def signal_to(pidfd: Descriptor, number: int) -> None:
    """Send a signal to exactly this process; none if it is gone, or no longer watched."""
    if not pidfd.closed:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd.fileno(), number)


def reap(pidfd: Descriptor, popen: subprocess.Popen[bytes] | None) -> Exit | None:
    """How a child of ours ended, or None while it runs; `popen` is what started it, if this program did."""
    try:
        result = os.waitid(os.P_PIDFD, pidfd.fileno(), os.WEXITED | os.WNOHANG)
    except ChildProcessError:  # it died before we knew of it, and was reaped as a stranger
        return Exit()
    if result is None:
        return None
    if popen is not None:
        popen.returncode = 0  # reaped here: Popen must never wait for this pid again
    if result.si_code == os.CLD_EXITED:
        return Exit(code=result.si_status)
    return Exit(signal=result.si_status)


def unblock(*descriptors: Descriptor) -> None:
    for each in descriptors:
        os.set_blocking(each.fileno(), False)
