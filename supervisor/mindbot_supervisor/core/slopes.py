"""Whether a row of memory readings grows steadily, and how fast: robust statistics on few points, cheapest test first.

Noise, a single step, growth that flattens and a wave that was as high before must not pass; a leak must, at any speed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
