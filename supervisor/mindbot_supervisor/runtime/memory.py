"""How much memory a process tree really uses: PSS and USS where the kernel tells them, else RSS."""

from __future__ import annotations

import os
from collections.abc import Iterable

from .procfile import number_after
from .proctable import Proc

MB = 1024 * 1024
KB = 1024
ROLLUP_BYTES = 4096


def footprint(tree: Iterable[Proc]) -> tuple[float, float, float]:
    """PSS, USS and RSS of a tree in MiB.

    PSS divides shared pages among those who share them. A process that may not be read in full counts with what can
    be read: its USS, else its RSS.
    """
    pss = uss = rss = 0
    for proc in tree:
        one_pss, one_uss = _one(proc)
        pss, uss, rss = pss + one_pss, uss + one_uss, rss + proc.rss_bytes
    return pss / MB, uss / MB, rss / MB


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
    except OSError:
        return _by_psutil(proc)
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
