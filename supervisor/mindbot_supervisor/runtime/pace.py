"""Several calls that lose their agent at once: one after the other is quicker for most of them than all together.

For an agent to come in takes CPU, so that five that begin in the same moment on two cores all come when the last one
does. Spaced by what one of them takes, the first is there after 0.35 s and each further one a little later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

JOIN_CPU = 0.1
"""Seconds of CPU that one agent takes to come into a room, livekit-server's share included (measured on 2 cores)."""
LONGEST = 2.0
"""Seconds for which nobody waits longer: the deadline of the recovery goes on."""
QUIET = 2
"""So many attempts at once may look as often as they like; more of them take turns, as looking takes CPU as well."""


class Pace:
    """Shared by all attempts of one host."""

    def __init__(self, cores: int) -> None:
        self._apart = JOIN_CPU / max(cores, 1)
        self._next = 0.0
        self._under_way = 0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """For as long as it is under way."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def turn(self) -> None:
        """Wait until the next agent should be asked for."""
        now = time.monotonic()
        begin = min(max(self._next, now), now + LONGEST)
        self._next = begin + self._apart
        if begin > now:
            await asyncio.sleep(begin - now)

    def between_looks(self, seconds: float) -> float:
        """How long to wait between two looks if one alone would wait so long."""
        return seconds * max(self._under_way / QUIET, 1.0)
