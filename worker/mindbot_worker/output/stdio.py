"""sys.stdout and sys.stderr that cannot hurt the process: print() never blocks for long and never raises."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable

from mindbot_worker.output.outlet import Outlet

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
