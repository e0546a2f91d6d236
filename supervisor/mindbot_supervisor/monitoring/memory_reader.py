"""Reads how much memory processes really use: PSS and USS where the kernel tells them, else RSS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import psutil

from mindbot_supervisor.monitoring.process_table import GONE, Process

MB = 1024 * 1024
STILL, AGAIN = 512 * 1024, 120.0
"""Bytes of RSS, and seconds, within which a reading stands. To read 200 MiB takes the kernel 8 ms."""


class Reading(NamedTuple):
    """One process at one moment: CPU seconds so far, and bytes of RSS, which is never less than PSS."""

    process: Process
    cpu: float
    rss: int


class _Full(NamedTuple):
    """In bytes."""

    pss: int
    uss: int
    rss: int
    at: float


class MemoryReader:
    """Reads PSS, USS and RSS of trees in MiB; a process whose RSS stands still is read again only after a while.

    PSS divides shared pages among those who share them. A process that may not be read in full counts with what can
    be read: its USS, else its RSS.
    """

    def __init__(self) -> None:
        self._known: dict[Process, _Full] = {}

    def of(self, tree: Iterable[Reading], now: float) -> tuple[float, float, float]:
        readings = [self._of(each, now) for each in tree]
        pss, uss, rss = (sum(each[at] for each in readings) / MB for at in range(3))
        return pss, uss, rss

    def forget_others(self, processes: Iterable[Process]) -> None:
        """Forget all others."""
        kept = set(processes)
        if len(self._known) > len(kept):
            self._known = {each: full for each, full in self._known.items() if each in kept}

    def _of(self, reading: Reading, now: float) -> _Full:
        known = self._known.get(reading.process)
        if known is None or now - known.at >= AGAIN or abs(reading.rss - known.rss) >= STILL:
            known = self._known[reading.process] = _Full(*_read(reading), reading.rss, now)
        return known


def _read(reading: Reading) -> tuple[int, int]:
    """PSS and USS in bytes."""
    try:
        full = reading.process.handle.memory_full_info()
    except GONE:
        return 0, 0
    except psutil.AccessDenied:
        return reading.rss, reading.rss
    return full.pss or full.uss, full.uss


def resident(tree: Iterable[Reading]) -> float:
    """RSS of a tree in MiB: cheap, and never less than its PSS."""
    return sum(each.rss for each in tree) / MB
