"""Whether a row of memory readings grows steadily, and how fast: robust statistics on few points, cheapest test first.

Noise, a single step, growth that flattens and a wave that was as high before must not pass; a leak must, at any speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import sqrt
from statistics import median
from typing import NamedTuple

ENOUGH = 12
"""Points below which nothing is said."""
PARTS = 4
"""A row must grow from each of so many parts to the next: a single step, wherever it is, sets at most three apart."""
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
    size = len(points) // PARTS
    starts = range(len(points) - size * PARTS, len(points), size)
    last = 0.0
    for start in starts:
        before, last = last, sorted(mb[start : start + size])[size // 2]
        if last <= before:
            return None
    news = last - max((point.mb - each * point.calls for point in older), default=0.0)
    slowest = min(_slope(points, mb, start, size) for start in starts[:-1]) if news > LEAST else 0.0
    span = points[-1].at - points[0].at
    grown = min(slowest * span, news)
    slope = _significant_slope(points, mb) if grown > LEAST else 0.0
    return Growth(slope, grown, span, len(points)) if slope > 0 else None


def _per_call(points: Sequence[Point]) -> float:
    """MiB that one more call takes: the median over all neighbours with different numbers of calls."""
    if not any([point.calls for point in points]):  # the usual case, and this runs often
        return 0.0
    costs = [(b.mb - a.mb) / (b.calls - a.calls) for a, b in pairwise(points) if a.calls != b.calls]
    return median(costs) if costs else 0.0


def _comparable(earlier: Point, later: Point) -> bool:
    """They share no call: what a call takes while it lasts is given back with it, and is no leak."""
    return earlier.newest < later.oldest


def _slope(points: Sequence[Point], mb: Sequence[float], start: int, size: int) -> float:
    """The median slope from one part to the next; 0 if they cannot be compared."""
    middle = start + size
    slopes = [
        (mb[j] - mb[i]) / (points[j].at - points[i].at)
        for i in range(start, middle)
        for j in range(middle, middle + size)
        if _comparable(points[i], points[j])
    ]
    return median(slopes) if slopes else 0.0


def _significant_slope(points: Sequence[Point], mb: Sequence[float]) -> float:
    """The Theil-Sen slope if the Mann-Kendall test finds growth, else 0; both over the comparable pairs only.

    For any set of pairs the variance of the statistic is (pairs + the sum over all points of the square of (pairs as
    the earlier - pairs as the later)) / 3, which for all pairs is the n(n-1)(2n+5)/18 of the textbooks.
    """
    slopes: list[float] = []
    balance = [0] * len(points)
    for i, j in combinations(range(len(points)), 2):
        if _comparable(points[i], points[j]):
            slopes.append((mb[j] - mb[i]) / (points[j].at - points[i].at))
            balance[i] += 1
            balance[j] -= 1
    score = sum((slope > 0) - (slope < 0) for slope in slopes)
    variance = (len(slopes) + sum(n * n for n in balance)) / 3
    return median(slopes) if score - 1 > SIGNIFICANT * sqrt(variance) else 0.0
