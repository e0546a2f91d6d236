"""One template process: started once, asked for workers, and watched like any child.

It imports the agent and forks each worker from that image (mindbot_worker/template is its other side). What it says
goes to its owner, the launcher; this file decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mindbot_supervisor.core.model import Exit
from mindbot_worker import wire_template
from mindbot_worker.descriptors import Descriptor, close_all

from .child import Pipes, pipe, reap, signal_to, unblock, watched
from .launch import Launch
from .output import Output

READ_BYTES = 64 * 1024


class Owner(Protocol):
    """Who is told what a template says and how it ends."""

    def said(self, template: Template, message: Mapping[str, Any]) -> None: ...

    def gone(self, template: Template, how: str) -> None: ...


@dataclass(slots=True)
class Template:
    """A running template; its descriptors are ours. `socket` is None once it was told to end."""

    pid: int
    pidfd: Descriptor
    socket: socket.socket | None
    output: Descriptor
    writer: Output
    owner: Owner
    popen: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    """None for one that an earlier version of this program started."""

    @classmethod
    def start(cls, launch: Launch, writer: Output, owner: Owner) -> Template:
        """Start the one that `launch` wants. Raises OSError."""
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.enter_context(ours)
            with theirs:
                output, stdout = pipe()
                undo.enter_context(output)
                with stdout:
                    popen = launch.popen(
                        launch.template_command(),
                        env={**launch.environ_of_all(), wire_template.SOCKET_FD: str(theirs.fileno())},
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
        loop.add_reader(self.output.fileno(), self._read)
        if self.socket is not None:
            loop.add_reader(self.socket.fileno(), self._hear)

    def ask(self, message: Mapping[str, Any], pipes: Pipes | None = None) -> None:
        """Send a request. Raises OSError if it cannot be sent."""
        if self.socket is None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        wire_template.send(self.socket, message, pipes.theirs() if pipes is not None else ())

    def end(self) -> None:
        """Let it end: it does when the socket closes. Workers that it forked are not concerned."""
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
            received = wire_template.receive(self.socket)
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            asyncio.get_running_loop().remove_reader(self.socket.fileno())
            return
        message, fds = received
        close_all(*fds)
        self.owner.said(self, message)

    def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            data = self.output.read(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.writer.feed(data, loop.time())
        else:
            loop.remove_reader(self.output.fileno())

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
        for each in (self.pidfd, self.output):
            loop.remove_reader(each.fileno())
            each.close()
        self.writer.close(loop.time())


def _how(ended: Exit) -> str:
    if ended.signal is not None:
        return signal.Signals(ended.signal).name
    return "it ended" if ended.code is None else f"exit code {ended.code}"
