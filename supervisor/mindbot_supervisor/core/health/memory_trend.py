"""Whether a worker's memory grows steadily, and how fast: readings kept at a bounded cost, judged by robust
statistics (Theil-Sen slope, Mann-Kendall test), cheapest test first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, sqrt
from statistics import median
from typing import NamedTuple

ENOUGH = 12
"""Points below which nothing is said."""
PARTS = 4
"""A row must grow from each of so many parts to the next: a step or two, wherever they are, leave one that does not."""
SIGNIFICANT = 3.5
"""Standard deviations of the Mann-Kendall statistic that count as growth (one-sided p = 0.0002)."""
LEAST = 1.0
"""MiB of growth below which nothing is said: allocators move by so much."""


class Point(NamedTuple):
    """One reading. The order of the fields is the order of quietness: the least of several is the one to keep."""

    unsettled: bool
    """A call began or ended just before."""
    calls: int
    mb: float
    at: float
    oldest: int
    """Number of its oldest call; without calls, of the next one to come."""
    newest: int
    """Number of the newest call that had begun by then, live or not."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Steady growth over a row of points."""

    mb_per_second: float
    """Theil-Sen: the median of all slopes."""
    grown_mb: float
    """What it has grown for certain: at the pace of its slowest part, and above all that was seen before."""
    span: float
    """Seconds."""
    points: int


def growth(points: Sequence[Point], older: Iterable[Point]) -> Growth | None:
    """The steady growth of `points`, or None. `older` are the points from before them, for as far as is known."""
    if len(points) < ENOUGH:
        return None
    each = _per_call(points)
    mb = [point.mb - each * point.calls for point in points] if each else [point.mb for point in points]
    slowest, last = _parts(points, mb)
    span = points[-1].at - points[0].at
    if slowest * span <= LEAST:
        return None
    grown = min(slowest * span, last - max([point.mb - each * point.calls for point in older], default=0.0))
    slope = _significant_slope(points, mb) if grown > LEAST else 0.0
    return Growth(slope, grown, span, len(points)) if slope > 0 else None


def _per_call(points: Sequence[Point]) -> float:
    """MiB that one more call takes: the median over all neighbours with different numbers of calls."""
    if {point.calls for point in points} == {0}:  # the usual case, and this runs often
        return 0.0
    costs = [(b.mb - a.mb) / (b.calls - a.calls) for a, b in pairwise(points) if a.calls != b.calls]
    return median(costs) if costs else 0.0


def _parts(points: Sequence[Point], mb: Sequence[float]) -> tuple[float, float]:
    """The least slope from the middle of one part to that of the next, and the last middle; 0 if not all parts rise.

    Parts that have a call in common throughout are not compared: what it takes while it lasts is given back with it.
    """
    size = len(points) // PARTS
    middle, at, slowest = 0.0, 0.0, inf
    first = len(points) - size * PARTS
    for start in range(first, len(points), size):
        stop = start + size
        before, middle = middle, sorted(mb[start:stop])[size // 2]
        since, at = at, points[start + size // 2].at
        if start > first:
            if middle <= before or points[start - size].newest >= points[stop - 1].oldest:
                return 0.0, middle
            slowest = min(slowest, (middle - before) / (at - since))
    return slowest, middle


def _significant_slope(points: Sequence[Point], mb: Sequence[float]) -> float:
    """The Theil-Sen slope if the Mann-Kendall test finds growth, else 0; both over all pairs that share no call.

    Points come in the order of time, so that `oldest` and `newest` only grow: those that can be compared with a point
    are all that come after some place. For any set of pairs the variance of the statistic is (pairs + the sum over all
    points of the square of (pairs as the earlier - pairs as the later)) / 3, which for all pairs is the
    n(n-1)(2n+5)/18 of the textbooks.
    """
    times = [point.at for point in points]
    oldest, newest = [point.oldest for point in points], [point.newest for point in points]
    slopes: list[float] = []
    squares = 0
    for i, (at, size) in enumerate(zip(times, mb, strict=True)):
        first = bisect_right(oldest, newest[i], i + 1)
        squares += (len(points) - first - bisect_left(newest, oldest[i], 0, i)) ** 2
        slopes += [(y - size) / (x - at) for x, y in zip(times[first:], mb[first:], strict=True)]
    slopes.sort()
    score = len(slopes) - bisect_right(slopes, 0.0) - bisect_left(slopes, 0.0)
    deviation = sqrt((len(slopes) + squares) / 3)
    return median(slopes) if score - 1 > SIGNIFICANT * deviation else 0.0


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
