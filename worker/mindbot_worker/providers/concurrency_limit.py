"""Limits the requests to a provider that all calls of this host make at one time: first come, first served."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from mindbot_config.host.descriptors import Descriptor
from mindbot_worker.providers.usage_meter import UsageMeter

_FLOCK = "hhqqi4x"
"""struct flock: type, whence, start, length, pid."""
_DRAWING = 0
"""The byte that is locked, for microseconds, while a ticket is drawn, so that tickets are drawn in order."""


class Ticket:
    """A place in the queue: a locked byte of the file, until `give_back`, which may be called twice."""

    def __init__(self, file: Descriptor, number: int) -> None:
        self._file, self._number = file, number

    def has_turn(self, count: int) -> bool:
        """Whether fewer than `count` tickets are before this one."""
        before, unknown = 0, [(_DRAWING + 1, self._number)]
        while unknown:
            start, end = unknown.pop()
            if start >= end or (found := _first_lock(self._file.fileno(), start, end)) is None:
                continue
            before += 1
            if before == count:
                return False
            unknown += [(start, found), (found + 1, end)]
        return True

    def give_back(self) -> None:
        self._file.close()


def draw_ticket(file: Path) -> Ticket | None:
    """Draw the next ticket; None while another one is being drawn. Raises OSError where there is no such directory."""
    # each ticket has a descriptor of its own: that is whom the kernel takes for the owner of a lock
    opened = Descriptor(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    fd = opened.fileno()
    try:
        if not _lock(fd, _DRAWING):
            opened.close()
            return None
        number = time.monotonic_ns()
        if not _lock(fd, number):
            raise OSError(f"byte {number} of {file} is locked by somebody else")
        _set(fd, fcntl.F_UNLCK, _DRAWING)
    except BaseException:
        opened.close()
        raise
    return Ticket(opened, number)


def _lock(fd: int, offset: int) -> bool:
    with contextlib.suppress(BlockingIOError, PermissionError):  # POSIX allows both answers
        _set(fd, fcntl.F_WRLCK, offset)
        return True
    return False


def _set(fd: int, kind: int, offset: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, offset, 1, 0))


def _first_lock(fd: int, start: int, end: int) -> int | None:
    """The offset of some locked byte from `start` on and before `end`."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, end - start, 0)
    kind, _, found, _, _ = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(found)


LIMITED_WITHIN_CALL_ONLY = "limit.alone"

LOOK_AGAIN = 0.01
"""Seconds between two looks of a request that waits; a look costs some 20 µs."""
_LONG = 1.0
"""Waits from this many seconds on are logged."""

logger = logging.getLogger(__name__)


class Permit(Protocol):
    """One request may be made until the permit is given back."""

    def give_back(self) -> None:
        """May be called twice."""


class ConcurrencyLimit:
    """Permits `count` requests to `provider` at one time, of all processes that use the same directory.

    Without a directory the requests of one call are limited.
    """

    def __init__(self, directory: Path | None, provider: str, count: int, meter: UsageMeter) -> None:
        self._file = None if directory is None else directory / f"{provider}.seats"
        self._provider, self._count, self._meter = provider, count, meter
        self._own = asyncio.Semaphore(count)
        self.waited = f"{provider}.waited"
        """The event of a long wait."""

    async def take(self, within: float | None = None) -> Permit:
        """Wait for a permit. Raises TimeoutError where none is free `within` seconds."""
        async with asyncio.timeout(within):
            return await self._take()

    async def _take(self) -> Permit:
        if self._file is not None:
            try:
                return await self._take_of_host(self._file)
            except OSError as exc:
                self._file = None
                logger.warning(
                    "requests are limited within this call only",
                    extra={"event": LIMITED_WITHIN_CALL_ONLY, "provider": self._provider, "reason": str(exc)},
                )
        with self._waiting() if self._own.locked() else contextlib.nullcontext():
            await self._own.acquire()
        return _LocalPermit(self._own.release)

    async def _take_of_host(self, file: Path) -> Permit:
        ticket = await _wait_for_ticket(file)
        try:
            if not ticket.has_turn(self._count):
                with self._waiting():
                    await self._turn_of(ticket)
        except BaseException:
            ticket.give_back()
            raise
        return ticket

    async def _turn_of(self, ticket: Ticket) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            if ticket.has_turn(self._count):
                return

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        began, outcome = time.monotonic(), "gave up"
        try:
            yield
            outcome = "served"
        finally:
            waited = time.monotonic() - began
            self._meter.waited(self._provider, waited, long=waited > _LONG)
            if waited > _LONG:
                logger.warning(
                    "a request waited for others to end",
                    extra={"event": self.waited, "seconds": round(waited, 1), "limit": self._count, "outcome": outcome},
                )


async def _wait_for_ticket(file: Path) -> Ticket:
    while True:
        if (ticket := draw_ticket(file)) is not None:
            return ticket
        await asyncio.sleep(LOOK_AGAIN / 10)


class _LocalPermit:
    """A permit within this process."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def give_back(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()
