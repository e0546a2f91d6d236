"""Percentiles of durations as they come, in little room: counts in buckets that are 2 % wide."""

from __future__ import annotations

import math
from collections import Counter

_WIDTH = math.log(1.02)
_LOWEST, _HIGHEST = 1e-6, 1e5
"""What lies outside is counted as these: there are some 1300 buckets at most, and only those in use are kept."""


class Percentiles:
    """Give it values above zero, such as seconds. What it tells is within 1 % of a value that was there."""

    __slots__ = ("_buckets", "count", "highest", "total")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.highest = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.highest = max(self.highest, value)
        self._buckets[round(math.log(min(max(value, _LOWEST), _HIGHEST)) / _WIDTH)] += 1

    def at(self, percent: float) -> float | None:
        """The value below or at which so many percent of all lie (nearest rank); None while there are none."""
        left = math.ceil(self.count * percent / 100)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(math.exp(bucket * _WIDTH), self.highest)
        return None
