"""How much memory a process tree really uses: PSS and USS where the kernel tells them, else RSS."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from .procfile import number_after
from .proctable import Key, Proc

MB = 1024 * 1024
KB = 1024
ROLLUP_BYTES = 4096
STILL, AGAIN = 512 * KB, 120.0
"""Bytes of RSS, and seconds, within which a reading stands. To read 200 MiB takes 8 ms."""
SUMMARY = Path("/proc/self/smaps_rollup")
"""Not there in old kernels."""


class _Reading(NamedTuple):
    """In bytes."""

    pss: int
    uss: int
    rss: int
    at: float


class Footprints:
    """PSS, USS and RSS of trees in MiB; a process whose RSS stands still is read again only after a while.

    PSS divides shared pages among those who share them. A process that may not be read in full counts with what can
    be read: its USS, else its RSS.
    """

    def __init__(self) -> None:
        self._known: dict[Key, _Reading] = {}

    def of(self, tree: Iterable[Proc], now: float) -> tuple[float, float, float]:
        readings = [self._of(proc, now) for proc in tree]
        pss, uss, rss = (sum(each[at] for each in readings) / MB for at in range(3))
        return pss, uss, rss

    def keep(self, table: Mapping[int, Proc]) -> None:
        """Forget all others."""
        if len(self._known) > len(table):
            self._known = {key: reading for key, reading in self._known.items() if key[0] in table}

    def _of(self, proc: Proc, now: float) -> _Reading:
        known = self._known.get(proc.key)
        if known is None or now - known.at >= AGAIN or abs(proc.rss_bytes - known.rss) >= STILL:
            known = self._known[proc.key] = _Reading(*_one(proc), proc.rss_bytes, now)
        return known


def _one(proc: Proc) -> tuple[int, int]:
    """PSS and USS in bytes. The kernel's summary is read directly: half the cost of psutil, which reads more."""
    try:
        fd = os.open(f"/proc/{proc.pid}/smaps_rollup", os.O_RDONLY)
        try:
            text = os.read(fd, ROLLUP_BYTES)
        finally:
            os.close(fd)
    except ProcessLookupError:
        return 0, 0
    except OSError as exc:
        gone = isinstance(exc, FileNotFoundError) and SUMMARY.exists()
        return (0, 0) if gone else _by_psutil(proc)
    pss, clean, dirty = (number_after(text, label) or 0 for label in (b"Pss:", b"Private_Clean:", b"Private_Dirty:"))
    return pss * KB, (clean + dirty) * KB


def _by_psutil(proc: Proc) -> tuple[int, int]:
    """For kernels without the summary, and for processes that only their RSS may be known of."""
    import psutil  # rarely needed, and it takes memory and time to load

    try:
        full = psutil.Process(proc.pid).memory_full_info()
    except psutil.NoSuchProcess:
        return 0, 0
    except psutil.AccessDenied:
        return proc.rss_bytes, proc.rss_bytes
    return full.pss or full.uss, full.uss


def resident(tree: Iterable[Proc]) -> float:
    """RSS of a tree in MiB: free with the process table, and never less than its PSS."""
    return sum(proc.rss_bytes for proc in tree) / MB
