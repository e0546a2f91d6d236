"""Writing to stdout and stderr that somebody else may have stopped reading, or left, without ever blocking for
long.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import select
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable

from mindbot_config.host.descriptors import Descriptor
from mindbot_worker.logging import reconnect

ATOMIC = select.PIPE_BUF
"""A pipe takes this many bytes whole or not at all, so lines of several processes do not mix."""

REJOIN_PAUSE = 1.0
"""Seconds between two attempts to find a new reader."""


class Outlet:
    """One descriptor, written in whole lines where possible; what cannot be written in time is dropped.

    O_NONBLOCK belongs to the open file and not to the descriptor: setting it on an inherited stdout would change
    the stdout of every process that shares it. So a pipe is opened a second time, and a socket is told per call.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.dropped = 0
        self._lock = threading.Lock()
        self._torn = False
        self._stuck = False
        self._by_pipe = False
        """Written to by way of the private descriptor."""
        self._pipe: Descriptor | None = None
        """Stays the same number for as long as the process lives: C code such as faulthandler was told it."""
        self._socket: socket.socket | None = None
        self._left = False
        self._rejoin_at = 0.0
        self._open()

    def _open(self) -> None:
        try:
            mode = os.fstat(self.fd).st_mode
            if stat.S_ISFIFO(mode):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self._keep(Descriptor(os.open(f"/proc/self/fd/{self.fd}", flags)))
            elif stat.S_ISSOCK(mode):
                self._socket = socket.socket(fileno=os.dup(self.fd))
        except OSError:
            # no /proc, or no reader any more: the plain descriptor does, with poll() before each write
            self._socket = None

    def _keep(self, opened: Descriptor) -> None:
        """Use this as the private descriptor, under the number that an earlier one has."""
        if self._pipe is None:
            self._pipe = opened
        else:
            with opened:
                os.dup2(opened.fileno(), self._pipe.fileno(), inheritable=False)
        self._by_pipe = True

    @property
    def private_fd(self) -> int:
        """A descriptor of ours for C code such as faulthandler: where it can be, one that never blocks."""
        return self._pipe.fileno() if self._pipe is not None else self.fd

    def write(self, data: bytes, patience: float) -> bool:
        """Write all of `data` within `patience` seconds. False: (the rest of) it was dropped."""
        deadline = time.monotonic() + patience
        if self._left and time.monotonic() >= self._rejoin_at:
            self._rejoin()
        if not self._lock.acquire(timeout=max(patience, 0.0)):
            self.dropped += 1
            return False
        try:
            # After one failure nobody is made to wait again until a write has succeeded.
            done = self._write(b"\n" + data if self._torn else data, 0.0 if self._stuck else deadline)
            self._stuck = not done
        except OSError:
            self._gone()
            done = True
        finally:
            self._lock.release()
        if not done:
            self.dropped += 1
        return done

    def _write(self, data: bytes, deadline: float) -> bool:
        rest = memoryview(data)
        begun = False
        while rest:
            try:
                sent = self._some(rest)
            except (BlockingIOError, InterruptedError):
                sent = 0
            if sent:
                begun, rest = True, rest[sent:]
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                self._torn = self._torn or begun
                return False
            self._await_room(min(left, 0.05))
        self._torn = False
        return True

    def _some(self, data: memoryview) -> int:
        if self._pipe is not None and self._by_pipe:
            return self._pipe.write(data[:ATOMIC])
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.write(self.fd, data[:ATOMIC]) if self._has_room() else 0

    def _has_room(self, wait: float = 0.0) -> bool:
        poll = select.poll()
        poll.register(self._pipe if self._pipe is not None and self._by_pipe else self.fd, select.POLLOUT)
        return bool(poll.poll(wait * 1000))

    def _await_room(self, wait: float) -> None:
        with contextlib.suppress(OSError):
            self._has_room(wait)

    def renew(self) -> None:
        """The descriptor has become another pipe, file or socket: write to that from now on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._torn = self._stuck = self._left = self._by_pipe = False
        self._open()
        if self._pipe is not None and not self._by_pipe:
            with contextlib.suppress(OSError):
                os.dup2(self.fd, self._pipe.fileno(), inheritable=False)

    def _gone(self) -> None:
        """The reader has left: from now on this descriptor is /dev/null, for us and for C code alike."""
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self.fd)
            if self._pipe is not None:
                os.dup2(null, self._pipe.fileno(), inheritable=False)
            os.close(null)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._torn = self._stuck = False
        self._left = True

    def _rejoin(self) -> None:
        """The supervisor that started this worker is gone; if there is a new one, it takes what we have to say."""
        self._rejoin_at = time.monotonic() + REJOIN_PAUSE
        hello = reconnect.connect(os.environ)
        if hello is None:
            return
        with self._lock:
            os.dup2(hello.fileno(), self.fd)
            self._by_pipe, self._socket, self._left = False, hello, False


_PRINT_PATIENCE = 0.2
"""How long one print() may wait for a full pipe. It happens on an event loop, so in the middle of a call."""

Redact = Callable[[str], str]


@functools.cache
def outlet(fd: int) -> Outlet:
    """The one outlet of this process for `fd`: log lines and prints share its lock, so they do not mix."""
    return Outlet(fd)


def renew() -> None:
    """After stdout and stderr were replaced by other descriptors: write to these."""
    for fd in (1, 2):
        outlet(fd).renew()


class _Raw(io.RawIOBase):
    def __init__(self, fd: int, redact: Redact | None) -> None:
        super().__init__()
        self._outlet = outlet(fd)
        self._redact = redact

    def write(self, data: object, /) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        clean = block if self._redact is None else self._redact(block.decode("utf-8", "replace")).encode()
        self._outlet.write(clean, _PRINT_PATIENCE)
        return len(block)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._outlet.fd

    def isatty(self) -> bool:
        return False


def guard(redact: Redact | None = None) -> None:
    """Replace sys.stdout and sys.stderr of this process."""
    sys.stdout = _text(1, redact)
    sys.stderr = _text(2, redact)


def _text(fd: int, redact: Redact | None) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Raw(fd, redact)), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
