"""How often something may be told before it is only counted. Pure: it is told the time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

DEBT_SECONDS = 5.0
"""A flood is over once so many seconds' worth of room is left unused: until then nothing of it gets through."""
TELL_EVERY = 10.0
"""Seconds between two reports of what was only counted."""
KEYS_MAX = 16384
"""Different things watched at one time; what comes beyond them shares one limit."""


@dataclass(slots=True)
class Bucket:
    """`burst` at once, then `rate` a second; who goes on taking more than that gets nothing at all meanwhile."""

    rate: float
    burst: float
    _room: float = field(init=False)
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._room = self.burst

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` may pass now."""
        room = self.room(now)
        allowed = max(min(wanted, int(room)), 0)
        self._room = max(room - wanted, -DEBT_SECONDS * self.rate)
        return allowed

    def room(self, now: float) -> float:
        """How many may pass now; negative while a flood lasts."""
        self._room = min(self._room + max(now - self._at, 0.0) * self.rate, self.burst)
        self._at = now
        return self._room


@dataclass(slots=True)
class _Flow:
    bucket: Bucket
    counted: int = 0
    tell_at: float = 0.0


class RateLimits:
    """A bucket for each key. What does not pass is counted, and told by `over` every TELL_EVERY seconds."""

    def __init__(self) -> None:
        self._flows: dict[Hashable, _Flow] = {}

    def passes(self, key: Hashable, rate: float, burst: float, now: float) -> bool:
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= KEYS_MAX:
                key = None
            flow = self._flows.setdefault(key, _Flow(Bucket(rate, burst)))
        if flow.bucket.take(1, now):
            return True
        if not flow.counted:
            flow.tell_at = now + TELL_EVERY
        flow.counted += 1
        return False

    def over(self, now: float) -> Iterator[tuple[Hashable, int]]:
        """Each key of which something was only counted, and how often. Forgets those that are quiet again."""
        for key, flow in list(self._flows.items()):
            if flow.counted and now >= flow.tell_at:
                counted, flow.counted = flow.counted, 0
                yield key, counted
            elif not flow.counted and flow.bucket.room(now) >= flow.bucket.burst:
                del self._flows[key]

    def rest(self) -> Iterator[tuple[Hashable, int]]:
        """The same for everything, at the end."""
        yield from self.over(float("inf"))
