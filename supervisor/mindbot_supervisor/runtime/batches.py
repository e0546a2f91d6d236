"""Reads many quiet pipes at once: a wake-up costs more than the beat that it is for, and a thousand workers beat."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

FEW = 32
"""So many pipes, or fewer, are read at once: a rest, with its timer, would cost more than it saves."""
REST = 0.05
"""Seconds between two batches that follow each other closely; after a longer silence a pipe is read at once."""


class Batches:
    """Calls each pipe's reader when there is something to read: many pipes together, at most every REST seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def add(self, fd: int, reader: Callable[[], None]) -> None:
        self._readers[fd] = reader
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Nothing happens for one that is not there."""
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _ready(self) -> None:
        now = self._loop.time()
        if now - self._last < REST and len(self._readers) > FEW:
            self._loop.remove_reader(self._epoll.fileno())
            self._timer = self._loop.call_later(REST, self._go_on)
        self._last = now
        for fd, _ in self._epoll.poll(0):
            reader = self._readers.get(fd)  # one of the others may have removed it
            if reader is not None:
                reader()

    def _go_on(self) -> None:
        self._loop.add_reader(self._epoll.fileno(), self._ready)
