"""Orphans: processes whose parents died become the daemon's children (subreaper), and are reaped when they end."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import psutil

from mindbot_supervisor.monitoring.process_table import Process
from mindbot_supervisor.monitoring.process_tree import ProcessTree

PR_SET_CHILD_SUBREAPER = 36
"""Option of prctl(2), which Python's standard library does not have."""


def become_subreaper() -> None:
    """Make orphans of our workers our children, so that they can be found and reaped. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl({PR_SET_CHILD_SUBREAPER}): {os.strerror(errno)}")


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process that left its worker's session, and was ended for that worker's end."""

    pid: int
    name: str


def orphans_among(tree: ProcessTree, found: Iterable[Process], root: int | None) -> list[Orphan]:
    """Of these processes, those that left the session of their worker. Job processes never were in it."""
    orphans = []
    for each in found:
        if each.pid != root and each.session != root and not each.claimable and each.session not in tree.templates:
            try:
                orphans.append(Orphan(each.pid, each.handle.name()))
            except (psutil.Error, OSError):
                continue
    return orphans


def reap(zombies: Iterable[int], reaped_elsewhere: Collection[int]) -> None:
    """Take the exit status of dead processes that the kernel gave to us, but for those that somebody else reaps."""
    for pid in zombies:
        if pid not in reaped_elsewhere:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
