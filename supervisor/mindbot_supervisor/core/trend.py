"""One worker's memory over time, kept so that steady growth is found at any speed and at a bounded cost.

Each bin keeps its quietest reading, so what comes and goes within a bin is not seen at all. Level 0 has bins of BIN
seconds, each further level bins of twice the width, and every level keeps POINTS of them: growth is looked for in the
last 12 minutes, 24, 48 and so on up to a day, with the same few points. The worker's roll spreads the moments at which
levels are judged over time, or a thousand workers that started together would share them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from .slopes import Growth, Point, growth

BIN = 30.0
"""Seconds; the sampler reads private memory every 10 s."""
POINTS = 24
LEVELS = 8
JUDGE_EVERY = 2
"""As a power of two: every fourth bin, two minutes."""
SETTLE = 20.0
"""Seconds after a call began or ended until its process has come or gone. LiveKit gives a job process 10 s to end."""
PEAK_WINDOW = 1800.0
"""Seconds; the peak is that of the last one to two windows."""
FAR = 7 * 24 * 3600.0
"""Seconds beyond which no time is predicted."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Memory that grows steadily, and when it will meet the soft limit at this pace."""

    mb_per_hour: float
    limit_in: float | None
    """Seconds; None: beyond any horizon."""
    left_mb: float
    """Between the recent peak and the limit."""
    grown_mb: float
    """What it has grown for certain within `span` seconds, known from `points` readings."""
    span: float
    points: int


@dataclass(slots=True)
class _Level:
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS))
    open: Point | None = None
    """The quietest reading of the bin under way."""
    growth: Growth | None = None

    def __post_init__(self) -> None:
        """One that was handed over by another daemon comes with plain lists."""
        self.points = deque(self.points, maxlen=POINTS)

    def take(self, point: Point) -> None:
        if self.open is None or point < self.open:
            self.open = point


@dataclass(slots=True)
class Trend:
    """Readings in, growth out. `growth` is that of the window that proves the most of it, None if none does."""

    growth: Growth | None = None
    _levels: list[_Level] = field(default_factory=lambda: [_Level()])
    _bin: int | None = None
    _live: dict[str, int] = field(default_factory=dict)
    """Each live call's number, counted from 1."""
    _oldest: int = 1
    _newest: int = 0
    _settled_at: float = 0.0
    _peaks: tuple[float, float] = (0.0, 0.0)
    """MiB: the most in the peak window before this one, and in this one."""
    _peak_since: float = 0.0

    def calls(self, jobs: Collection[str], now: float) -> None:
        """These calls are live."""
        if len(jobs) == len(self._live) and all(job in self._live for job in jobs):
            return
        live: dict[str, int] = {}
        for job in jobs:
            number = self._live.get(job)
            if number is None:
                number = self._newest = self._newest + 1
            live[job] = number
        self._live, self._settled_at = live, now + SETTLE
        self._oldest = min(live.values(), default=self._newest + 1)

    def see(self, private_mb: float, total_mb: float, now: float, roll: float) -> None:
        """One look at the tree: growth is that of private memory, the limit is one of the total."""
        if now - self._peak_since >= PEAK_WINDOW:
            self._peaks, self._peak_since = (self._peaks[1], total_mb), now
        elif total_mb > self._peaks[1]:
            self._peaks = (self._peaks[0], total_mb)
        index = int(now / BIN + roll * 2**LEVELS)
        if self._bin is None:
            self._bin = index
        elif index > self._bin:
            self._close(self._bin, index)
            self._bin = index
        unsettled = now < self._settled_at
        self._levels[0].take(Point(unsettled, len(self._live), private_mb, now, self._oldest, self._newest))

    def leak(self, soft_mb: float) -> Leak | None:
        """What is known now against a soft limit."""
        found = self.growth
        if found is None:
            return None
        left = max(soft_mb - max(self._peaks), 0.0)
        limit_in = left / found.mb_per_second
        return Leak(
            mb_per_hour=found.mb_per_second * 3600,
            limit_in=limit_in if limit_in <= FAR else None,
            left_mb=left,
            grown_mb=found.grown_mb,
            span=found.span,
            points=found.points,
        )

    def _close(self, before: int, after: int) -> None:
        """Complete the bins that end between these two, on every level."""
        for depth in range(LEVELS):
            if before >> depth == after >> depth:
                break
            level = self._levels[depth]
            if level.open is None:
                break
            level.points.append(level.open)
            if depth + 1 < LEVELS:
                if depth + 1 == len(self._levels):
                    self._levels.append(_Level())
                self._levels[depth + 1].take(level.open)
            level.open = None
        if before >> JUDGE_EVERY != after >> JUDGE_EVERY:
            self._judge(before, after)

    def _judge(self, before: int, after: int) -> None:
        """Look at every level that has a new point since it was looked at, and choose the most certain growth."""
        for depth, level in enumerate(self._levels):
            if before >> depth == after >> depth:
                break
            if level.points:
                level.growth = growth(list(level.points), self._older(depth))
        proven = [level.growth for level in self._levels if level.growth is not None]
        self.growth = max(proven, key=lambda each: each.grown_mb, default=None)

    def _older(self, depth: int) -> Iterator[Point]:
        """What the wider levels still know of the time before this one's first point."""
        start = self._levels[depth].points[0].at
        return (point for level in self._levels[depth + 1 :] for point in level.points if point.at < start)
