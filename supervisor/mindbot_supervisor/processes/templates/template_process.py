"""One template: the process that imported the agent once, and the workers that it was asked to fork."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mindbot_config.host.descriptors import Descriptor, close_all
from mindbot_supervisor.core.workers.model import Exit, Ref
from mindbot_supervisor.processes.launching.child_process import Pipes, pipe, reap, signal_to, unblock, watched
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions
from mindbot_supervisor.processes.pipes.rate_limited_reader import RateLimitedReader
from mindbot_supervisor.processes.pipes.worker_output import Output
from mindbot_worker.protocol import template_messages


class Owner(Protocol):
    """Whoever is told what a template process says and how it ends."""

    def heard(self, process: TemplateProcess, message: Mapping[str, Any]) -> None: ...

    def gone(self, process: TemplateProcess, how: str) -> None: ...


@dataclass(slots=True)
class TemplateProcess:
    """A running template process; the descriptors are ours. `socket` is None once the process was told to end."""

    pid: int
    pidfd: Descriptor
    socket: socket.socket | None
    output: Descriptor
    writer: Output
    owner: Owner
    popen: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    """None for a process that an earlier version of this program started."""
    reader: RateLimitedReader | None = field(default=None, repr=False)

    @classmethod
    def start(cls, launch: LaunchOptions, writer: Output, owner: Owner) -> TemplateProcess:
        """Start the template process that `launch` wants. Raises OSError."""
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.enter_context(ours)
            with theirs:
                output, stdout = pipe()
                undo.enter_context(output)
                with stdout:
                    popen = launch.popen(
                        launch.template_command(),
                        env={**launch.environ_of_all(), template_messages.SOCKET_FD: str(theirs.fileno())},
                        stdin=subprocess.DEVNULL,
                        stdout=stdout.fileno(),
                        stderr=stdout.fileno(),
                        pass_fds=(theirs.fileno(),),
                        start_new_session=True,
                    )
            pidfd = watched(popen)
            ours.setblocking(False)
            unblock(output)
            undo.pop_all()
        return cls(popen.pid, pidfd, ours, output, writer, owner, popen)

    def watch(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.pidfd.fileno(), self._ended)
        self.reader = RateLimitedReader(self.output, lambda data: self.writer.feed(data, time.monotonic()))
        self.reader.start()
        if self.socket is not None:
            loop.add_reader(self.socket.fileno(), self._hear)

    def ask(self, message: Mapping[str, Any], pipes: Pipes | None = None) -> None:
        """Send a request. Raises OSError if it cannot be sent."""
        if self.socket is None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        template_messages.send(self.socket, message, pipes.theirs() if pipes is not None else ())

    def end(self) -> None:
        """End the process by closing its socket. Workers that it forked are not concerned."""
        if self.socket is not None:
            asyncio.get_running_loop().remove_reader(self.socket.fileno())
            self.socket.close()
            self.socket = None

    def kill(self) -> None:
        signal_to(self.pidfd, signal.SIGKILL)

    def _hear(self) -> None:
        if self.socket is None:
            return
        try:
            received = template_messages.receive(self.socket)
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            asyncio.get_running_loop().remove_reader(self.socket.fileno())
            return
        message, fds = received
        close_all(*fds)
        self.owner.heard(self, message)

    def _ended(self) -> None:
        ended = reap(self.pidfd, self.popen)
        if ended is not None:
            self._close()
            self.owner.gone(self, _how(ended))

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        while self.socket is not None:  # its last words may still be unread
            before = self.socket
            self._hear()
            if self.socket is before:
                break
        self.end()
        if self.reader is not None:
            self.reader.stop()
            self.writer.feed_all(self.reader.drain(), time.monotonic())
        self.writer.close(time.monotonic())
        loop.remove_reader(self.pidfd.fileno())
        self.pidfd.close()
        self.output.close()


def _how(ended: Exit) -> str:
    if ended.signal is not None:
        return signal.Signals(ended.signal).name
    return "it ended" if ended.code is None else f"exit code {ended.code}"


FORK_TIMEOUT = 20.0
"""Seconds for a fork, which takes 0.04; a template that does not answer is killed and built anew."""


ASKED_MAX = 16
"""Workers that a template is asked for at a time: it forks one after the other, and each holds six descriptors here."""


@dataclass(slots=True)
class Template:
    """A template process, what its workers are started with, and the forks that it has not answered yet."""

    process: TemplateProcess
    launch: LaunchOptions
    began: float = field(default_factory=time.monotonic)
    ready: bool = False
    stale: bool = False
    """The code on disk is no longer what it has imported."""
    _asked: dict[Ref, tuple[Pipes, asyncio.TimerHandle]] = field(default_factory=dict)

    def fits(self, launch: LaunchOptions) -> bool:
        return self.launch == launch and not self.stale

    def age(self) -> float:
        return time.monotonic() - self.began

    def fork(self, ref: Ref) -> None:
        """Ask for a worker. Raises OSError where no pipe can be opened, or the template cannot be asked."""
        pipes = Pipes.open()
        request = {"say": template_messages.FORK, "worker": str(ref), "environ": self.launch.own_environ(ref)}
        try:
            self.process.ask(request, pipes)
        except OSError:
            pipes.close()
            raise
        timer = asyncio.get_running_loop().call_later(FORK_TIMEOUT, self.process.kill)
        self._asked[ref] = (pipes, timer)

    @property
    def busy(self) -> bool:
        """Whether ASKED_MAX forks are unanswered."""
        return len(self._asked) >= ASKED_MAX

    def is_forking(self, ref: Ref) -> bool:
        """Whether the fork of this worker is unanswered."""
        return ref in self._asked

    def answered(self, worker: str) -> tuple[Ref, Pipes] | None:
        """Our ends of the pipes of a worker that was asked for; None if it was not."""
        ref = next((ref for ref in self._asked if str(ref) == worker), None)
        if ref is None:
            return None
        pipes, timer = self._asked.pop(ref)
        timer.cancel()
        pipes.close_theirs()
        return ref, pipes

    def end(self) -> list[Ref]:
        """Let the process end; its workers go on. Returns the workers whose fork is unanswered."""
        self.process.end()
        return self.give_back_unanswered()

    def give_back_unanswered(self) -> list[Ref]:
        """The workers whose fork is unanswered; their pipes are closed."""
        owed, self._asked = self._asked, {}
        for pipes, timer in owed.values():
            timer.cancel()
            pipes.close()
        return list(owed)
