"""At most so many requests to a provider at one time, of all calls of this host together, in the order of their coming.

A request that finds all seats taken waits for as long as its caller lets it: there is never one request too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from mindbot_worker.providers.queueing import Ticket, draw
from mindbot_worker.usage import Meter

ALONE = "limit.alone"

LOOK_AGAIN = 0.01
"""Seconds between two looks of those who wait; a look costs some 20 µs."""
_LONG = 1.0
"""Waits from this many seconds on are logged."""

logger = logging.getLogger(__name__)


class Seat(Protocol):
    def give_back(self) -> None:
        """May be called twice."""


class Seats:
    """`count` seats at `provider`, shared by all who use the same directory; without one, by the requests of a call."""

    def __init__(self, directory: Path | None, provider: str, count: int, meter: Meter) -> None:
        self._file = None if directory is None else directory / f"{provider}.seats"
        self._provider, self._count, self._meter = provider, count, meter
        self._own = asyncio.Semaphore(count)
        self.waited = f"{provider}.waited"
        """The event of a long wait."""

    async def take(self, within: float | None = None) -> Seat:
        """The next free seat. Raises TimeoutError where none is free `within` seconds."""
        async with asyncio.timeout(within):
            return await self._take()

    async def _take(self) -> Seat:
        if self._file is not None:
            try:
                return await self._take_of_host(self._file)
            except OSError as exc:
                self._file = None
                logger.warning(
                    "requests are limited within this call only",
                    extra={"event": ALONE, "provider": self._provider, "reason": str(exc)},
                )
        with self._waiting() if self._own.locked() else contextlib.nullcontext():
            await self._own.acquire()
        return _Own(self._own.release)

    async def _take_of_host(self, file: Path) -> Seat:
        ticket = await _drawn(file)
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


async def _drawn(file: Path) -> Ticket:
    while True:
        if (ticket := draw(file)) is not None:
            return ticket
        await asyncio.sleep(LOOK_AGAIN / 10)


class _Own:
    """A seat of this process alone."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def give_back(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()
