"""What a caller heard: the stretches of sound from each participant, and waits for sound and for silence."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

_LOUD_DBFS = -45.0
# Two frames of 20 ms: one alone may be a click. Words in a sentence are less than this apart.
_LOUD_FRAMES, _SAME_STRETCH_SECONDS = 2, 0.25


@dataclass(slots=True)
class Stretch:
    """Sound without a longer pause, from one participant."""

    identity: str
    start: float
    end: float
    level: float
    """The loudest 20 ms so far, in dBFS."""


@dataclass(frozen=True, slots=True)
class Heard:
    started_at: float
    level: float
    identity: str


class Ears:
    def __init__(self) -> None:
        self.stretches: list[Stretch] = []
        self._loud_in_a_row: dict[tuple[str, str], int] = {}
        self._sound = asyncio.Condition()
        self._notify: asyncio.Task[None] | None = None

    def take(self, samples: np.ndarray[Any, np.dtype[np.int16]], identity: str, now: float, track: str = "") -> None:
        """A frame of sound that arrived now. An agent can have a silent track beside the one on which it speaks."""
        level = 20 * float(np.log10(max(float(np.sqrt(np.mean(np.square(samples.astype(np.float64))))), 1.0) / 32768))
        if level < _LOUD_DBFS:
            self._loud_in_a_row[identity, track] = 0
            return
        row = self._loud_in_a_row[identity, track] = self._loud_in_a_row.get((identity, track), 0) + 1
        if row < _LOUD_FRAMES:
            return
        last = next((each for each in reversed(self.stretches) if each.identity == identity), None)
        if last is not None and now - last.end < _SAME_STRETCH_SECONDS:
            last.end, last.level = now, max(last.level, level)
        else:
            self.stretches.append(Stretch(identity, now - 0.02 * (_LOUD_FRAMES - 1), now, level))
        self._wake()

    async def hear(self, within: float, since: float, identity: str | None) -> Heard:
        async with asyncio.timeout(within), self._sound:
            while True:
                for each in self.stretches:
                    if each.end > since and identity in (None, each.identity):
                        return Heard(max(each.start, since), each.level, each.identity)
                await self._sound.wait()

    async def silence(self, seconds: float, within: float) -> None:
        asked = time.monotonic()
        async with asyncio.timeout(within), self._sound:
            while (quiet_since := max(self.last_sound(), asked)) + seconds > time.monotonic():
                try:
                    async with asyncio.timeout(quiet_since + seconds - time.monotonic()):
                        await self._sound.wait()
                except TimeoutError:
                    continue

    def last_sound(self) -> float:
        return max((each.end for each in self.stretches), default=0.0)

    def longest_gap(self, since: float, until: float) -> float:
        longest, quiet_since = 0.0, since
        for each in sorted(self.stretches, key=lambda stretch: stretch.start):
            if each.end <= since or each.start >= until:
                continue
            longest = max(longest, each.start - quiet_since)
            quiet_since = max(quiet_since, each.end)
        return max(longest, until - quiet_since)

    def _wake(self) -> None:
        if self._notify is None or self._notify.done():
            self._notify = asyncio.create_task(self._notify_all())

    async def _notify_all(self) -> None:
        async with self._sound:
            self._sound.notify_all()
