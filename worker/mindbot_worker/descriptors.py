"""Owners of file descriptors: a number that was closed here is never used again, whoever has it by then.

Standard library only: the supervisor, the template and the workers share this module.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Self


class Descriptor:
    """Owns one open file descriptor: closes it once, and refuses its number afterwards.

    The kernel gives a freed number to the next file that is opened, so a number that is kept after `close` soon means
    somebody else's pipe or socket.
    """

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number: int | None = number

    def fileno(self) -> int:
        """The number. Raises OSError (EBADF) once it is closed, as the kernel does for a number that is free."""
        if self._number is None:
            raise OSError(errno.EBADF, "this descriptor was closed")
        return self._number

    @property
    def closed(self) -> bool:
        return self._number is None

    def close(self) -> None:
        """Close it; nothing happens the second time. What the kernel says to a close is no matter: it is closed."""
        number, self._number = self._number, None
        if number is not None:
            try:
                os.close(number)
            except OSError:
                return

    def detach(self) -> int:
        """The number, which belongs to the caller from now on. Raises OSError (EBADF) once it is closed."""
        number = self.fileno()
        self._number = None
        return number

    def read(self, size: int) -> bytes:
        return os.read(self.fileno(), size)

    def write(self, data: bytes | memoryview) -> int:
        return os.write(self.fileno(), data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Descriptor({'closed' if self._number is None else self._number})"


def close_all(*descriptors: Descriptor) -> None:
    for each in descriptors:
        each.close()


def open_standard() -> None:
    """Open /dev/null as each of stdin, stdout and stderr that was closed when this process was started.

    To be called before anything else is opened: else a lock, a socket or a pipe becomes descriptor 0, 1 or 2, and
    whatever is printed goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _open_null(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _open_null(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)
