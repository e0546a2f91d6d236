"""How much memory a process tree really uses: PSS and USS where the kernel tells them, else RSS."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

from .proctable import Proc

MB = 1024 * 1024


def footprint(tree: Iterable[Proc]) -> tuple[float, float, float]:
    """PSS, USS and RSS of a tree in MiB.

    PSS divides shared pages among those who share them. A process that may not be read in full counts with what can
    be read: its USS, else its RSS.
    """
    pss = uss = rss = 0.0
    for proc in tree:
        one_rss = proc.rss_bytes
        try:
            full = psutil.Process(proc.pid).memory_full_info()
            one_uss = full.uss
            one_pss = full.pss or one_uss
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            one_pss = one_uss = one_rss
        pss, uss, rss = pss + one_pss, uss + one_uss, rss + one_rss
    return pss / MB, uss / MB, rss / MB


def resident(tree: Iterable[Proc]) -> float:
    """RSS of a tree in MiB: free with the process table, and never less than its PSS."""
    return sum(proc.rss_bytes for proc in tree) / MB
