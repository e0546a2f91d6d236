"""The process table from one round to the next: what may be ours is read each time, a stranger once and now and then.

A host has many processes that are none of ours; a list of their pids is cheap, reading what each of them is is not.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from . import proctable
from .proctable import Proc

AGAIN_EVERY = 10.0
"""Seconds after which strangers are read again: a pid may have been used again between two rounds."""


@dataclass(slots=True)
class Scan:
    """Follows our descendants, and whatever belongs to a root or was named by one, until they are gone."""

    _ours: dict[int, Proc] = field(default_factory=dict)
    _listed: set[int] = field(default_factory=set)
    """Pids of the whole host in the last round."""
    _all_read_at: float = float("-inf")

    def look(self, now: float, roots: Collection[int], named: Collection[int]) -> Mapping[int, Proc]:
        """Every process that may be ours, by pid. `roots` are pids and session ids of workers."""
        if now - self._all_read_at >= AGAIN_EVERY:
            self._listed, self._all_read_at = set(), now
        before, self._listed = self._listed, _pids()
        followed = {pid: proc for pid, old in self._ours.items() if (proc := _same(old)) is not None}
        # A pid that was used again since the last round belongs to a new process, and is as good as new itself.
        new = self._listed - before | self._ours.keys() - followed.keys()
        found = (proctable.read_one(pid) for pid in sorted(new - followed.keys()))
        self._ours = _with_kin(followed, [proc for proc in found if proc is not None], roots, named)
        return self._ours


def _pids() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208


def _same(old: Proc) -> Proc | None:
    """The process as it is now, or None if it is gone."""
    now = proctable.read_one(old.pid)
    return now if now is not None and now.started == old.started else None


def _with_kin(
    ours: dict[int, Proc], others: list[Proc], roots: Collection[int], named: Collection[int]
) -> dict[int, Proc]:
    """Ours, and those of the others that descend from us or them, or belong to a root, or were named."""
    found, parents = dict(ours), {os.getpid(), *ours}
    while others:  # again for children that come before their parents, pids having begun anew
        left = []
        for proc in others:
            if proc.ppid in parents or proc.pid in roots or proc.session in roots or proc.pid in named:
                found[proc.pid] = proc
                parents.add(proc.pid)
            else:
                left.append(proc)
        if len(left) == len(others):
            break
        others = left
    return found
