"""Collects what `monitor_performance` measures in a job process, and logs slow functions and a summary."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from typing import Any

SLOW, SUMMARY = "performance.slow", "performance.summary"

logger = logging.getLogger(__name__)


_WIDTH = math.log(1.02)
_LOWEST, _HIGHEST = 1e-6, 1e5
"""What lies outside is counted as these: there are some 1300 buckets at most, and only those in use are kept."""


class Percentiles:
    """Percentiles of values above zero, such as seconds, to within 1 %: counts in buckets that are 2 % wide."""

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


class Timings:
    """The runs of one function since the last summary."""

    __slots__ = ("cpu", "failed", "seconds", "slow")

    def __init__(self) -> None:
        self.seconds = Percentiles()
        self.cpu, self.failed, self.slow = 0.0, 0, 0

    def told(self) -> dict[str, Any]:
        return {
            "count": self.seconds.count,
            "p50": _rounded(self.seconds.at(50) or 0.0),
            "p95": _rounded(self.seconds.at(95) or 0.0),
            "max": _rounded(self.seconds.highest),
            "cpu": _rounded(self.cpu),
            "slow": self.slow,
            "failed": self.failed,
        }


_timings: dict[str, Timings] = {}
_lock = threading.Lock()
"""Functions that are not coroutines may run in threads."""


def record(name: str, seconds: float, cpu: float, failed: bool, slow_after: float) -> None:
    with _lock:
        timings = _timings.get(name) or _timings.setdefault(name, Timings())
        timings.seconds.add(seconds)
        timings.cpu += cpu
        timings.failed += failed
        slow = seconds > slow_after
        timings.slow += slow
        first = slow and timings.slow == 1
    if first:
        logger.warning(
            "a function is slow",
            extra={
                "event": SLOW,
                "function": name,
                "seconds": _rounded(seconds),
                "cpu": _rounded(cpu),
                "slow_after": slow_after,
            },
        )


def log_summary() -> None:
    """Log what was measured since the last summary. Called at the end of each call, in its job process."""
    with _lock:
        told = {name: timings.told() for name, timings in _timings.items()}
        _timings.clear()
    if told:
        logger.info("how long functions took in this call", extra={"event": SUMMARY, "functions": told})


def _rounded(seconds: float) -> float:
    return round(seconds, 6 if seconds < 0.001 else 4)
