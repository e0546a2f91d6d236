"""Finds the worker from which an orphan comes, by what only descent gives: pipes that it holds open, its cgroup.

A name or an environment proves nothing: any process can have it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mindbot_config.host.cgroups import Mounts

if TYPE_CHECKING:
    from mindbot_supervisor.core.workers.model import Ref
    from mindbot_supervisor.monitoring.process_table import Process
    from mindbot_supervisor.monitoring.process_tree import Root

DESCRIPTORS_MAX = 256
"""So many of its descriptors are looked at."""


def find(orphan: Process, roots: Iterable[Root]) -> Ref | None:
    """The worker, or None where it cannot be known, or several come into question."""
    candidates = list(roots)
    return _by_pipes(orphan.pid, candidates) or _by_cgroup(orphan.pid, candidates)


def _by_pipes(pid: int, roots: list[Root]) -> Ref | None:
    held = pipes_of(pid)
    found = {root.ref for root in roots if held & root.pipes} if held else set()
    return found.pop() if len(found) == 1 else None


def pipes_of(pid: int) -> frozenset[int]:
    """The inodes of all pipes that a process holds; none where that may not be seen."""
    folder, found = f"/proc/{pid}/fd", set()
    try:
        names = os.listdir(folder)[:DESCRIPTORS_MAX]  # noqa: PTH208
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return frozenset()
    for name in names:
        try:
            seen = os.stat(f"{folder}/{name}")  # noqa: PTH116
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if stat.S_ISFIFO(seen.st_mode):
            found.add(seen.st_ino)
    return frozenset(found)


def _by_cgroup(pid: int, roots: list[Root]) -> Ref | None:
    """The worker in whose own cgroup the process is."""
    groups = Mounts()
    own = groups.lines(pid)
    if not own or own == groups.lines():
        return None
    found = {root.ref for root in roots if groups.lines(root.pid) == own}
    return found.pop() if len(found) == 1 else None
