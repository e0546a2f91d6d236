"""Owners of file descriptors: a number that was closed here is never used again, whoever has it by then.

Standard library only: the supervisor, the template and the workers share this module.
"""

from __future__ import annotations

import errno
import os
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
