"""Warm job processes are made up for once the calls that took them have started: until then those need the CPU more.

Each takes about 50 ms of it. A call that finds no warm process meanwhile gets one of its own at once, as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

AFTER, WITHIN = 1.0, 3.0
"""Seconds after the last call began; and seconds at most, where calls begin one after the other."""


class Refill:
    """`hold` is told whether to start no warm processes. Belongs to the loop's thread."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        self._hold = hold
        self._due: asyncio.TimerHandle | None = None
        self._since = 0.0

    def call_started(self) -> None:
        loop = asyncio.get_running_loop()
        if self._due is None:
            self._since = loop.time()
            self._hold(True)
        else:
            self._due.cancel()
        self._due = loop.call_at(min(loop.time() + AFTER, self._since + WITHIN), self._go_on)

    def _go_on(self) -> None:
        self._due = None
        self._hold(False)
