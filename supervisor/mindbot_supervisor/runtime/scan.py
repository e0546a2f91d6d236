"""The process table from one round to the next: what may be ours is read each time, a stranger once.

A host has many processes that are none of ours. Listing their pids takes ten times as long as reading one process, so
even that is left out while the kernel has started nothing new.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mindbot_worker import wire

from . import procfile, proctable
from .proctable import Proc

LIST_LEAST, LIST_EVERY, ANEW_EVERY = 2.0, 5.0, 60.0
"""Seconds between two lists of pids while others start processes all the time; after which there is one whatever the
kernel says; and after which strangers are read again."""
LOADAVG = "/proc/loadavg"


@dataclass(slots=True)
class Scan:
    """Follows our descendants, and whatever belongs to a root or was named by one, until they are gone.

    So are all that bear a worker's name: job processes of a worker that another daemon left to us descend from neither.
    """

    _ours: dict[int, Proc] = field(default_factory=dict)
    _listed: set[int] = field(default_factory=set)
    """Pids of the whole host when they were last listed."""
    _newest: bytes = b""
    """The kernel's last pid then."""
    _listed_at: float = float("-inf")
    _anew_at: float = float("-inf")

    def look(self, now: float, roots: Collection[int], named: Collection[int]) -> Mapping[int, Proc]:
        """Every process that may be ours, by pid. `roots` are pids and session ids of workers."""
        followed = {pid: proc for pid, old in self._ours.items() if (proc := _same(old)) is not None}
        # A pid that was used again since the last round is as good as new itself.
        new = (self._new(now) | self._ours.keys() | set(roots) | set(named)) - followed.keys()
        found = (proctable.read_one(pid) for pid in sorted(new))
        self._ours = _with_kin(followed, [proc for proc in found if proc is not None], roots, named)
        return self._ours

    def _new(self, now: float) -> set[int]:
        """Pids that were not there when they were last listed."""
        if now - self._listed_at < LIST_LEAST:
            return set()
        newest = newest_pid()
        if newest and newest == self._newest and now - self._listed_at < LIST_EVERY:
            return set()
        if now - self._anew_at >= ANEW_EVERY:
            self._listed, self._anew_at = set(), now
        self._newest, self._listed_at = newest, now
        before, self._listed = self._listed, _pids()
        return self._listed - before


def newest_pid() -> bytes:
    """The pid that the kernel gave out last, the last word of the load averages; empty where it is not told."""
    words = (procfile.read(LOADAVG) or b"").split()
    return words[-1] if words and words[-1] != b"0" else b""


def _pids() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208


def _same(old: Proc) -> Proc | None:
    """The process as it is now, or None if it is gone."""
    now = proctable.read_one(old.pid)
    return now if now is not None and now.started == old.started else None


def _with_kin(
    ours: dict[int, Proc], others: list[Proc], roots: Collection[int], named: Collection[int]
) -> dict[int, Proc]:
    """Ours, and those of the others that descend from us or them, or belong to a root, or were or are named."""
    found, parents = dict(ours), {os.getpid(), *ours}
    while others:  # again for children that come before their parents, pids having begun anew
        left = []
        for proc in others:
            told = proc.pid in named or wire.worker_of(proc.name)
            if told or proc.ppid in parents or proc.pid in roots or proc.session in roots:
                found[proc.pid] = proc
                parents.add(proc.pid)
            else:
                left.append(proc)
        if len(left) == len(others):
            break
        others = left
    return found
