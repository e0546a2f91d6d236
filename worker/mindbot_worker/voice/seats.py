"""A semaphore across all processes of this host: one lock file for each seat.

The kernel gives a lock back when its holder dies, so a killed job takes no seat with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from pathlib import Path

WAITED = "openai.waited"

_LOOK_AGAIN = 0.02
_PATIENCE = 5.0
"""After this a request goes ahead without a seat: a limit may cost a caller time, but not the answer."""

logger = logging.getLogger(__name__)


class Ticket:
    """A seat that was taken; giving it back twice does no harm."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def give_back(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class Seats:
    """`count` seats called `name`, shared by all who use the same directory; without a directory there is no limit."""

    def __init__(self, directory: Path | None, name: str, count: int) -> None:
        self._files = [] if directory is None else [directory / f"{name}-{number}.lock" for number in range(count)]

    async def take(self) -> Ticket:
        began = time.monotonic()
        while True:
            if (ticket := self._try()) is not None:
                break
            if time.monotonic() - began >= _PATIENCE:
                ticket = Ticket(None)
                break
            await asyncio.sleep(_LOOK_AGAIN)
        waited = time.monotonic() - began
        if waited > 1.0:
            logger.warning(
                "a request waited for others to end",
                extra={"event": WAITED, "seconds": round(waited, 1), "limit": len(self._files)},
            )
        return ticket

    def _try(self) -> Ticket | None:
        if not self._files:
            return Ticket(None)
        for file in self._files:
            try:
                fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return Ticket(None)  # the directory is gone: no reason not to answer a caller
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return Ticket(fd)
            os.close(fd)
        return None
