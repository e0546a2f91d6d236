"""Which process belongs to which worker: by parent, by session, by its own word, by what was seen before.

Job processes of a killed forkserver and daemonised grandchildren are re-parented to us (the subreaper), so the chain of
parents alone would lose them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mindbot_supervisor.core.model import Ref
from mindbot_worker import wire

from . import proctable
from .proctable import ZOMBIE, Key, Proc


@dataclass(slots=True)
class Family:
    """Remembers roots and members, so that a tree is still known when its root is gone."""

    runtime_dir: str
    roots: dict[int, Ref] = field(default_factory=dict)
    """Worker pid, which is also the id of its session, to the worker. Kept until the whole tree is gone."""
    told: dict[Ref, tuple[int, ...]] = field(default_factory=dict)
    """Pids that a worker named in its last beat."""
    _seen: dict[Key, Ref] = field(default_factory=dict)
    _strangers: dict[Key, str] = field(default_factory=dict)
    """Not ours by the name that each has: a beat may tell of a job process before that has taken its worker's name."""
    undecided: bool = False
    """Whether the last look met a process in the middle of its exec: its environment was empty for that moment."""

    def sort(self, table: Mapping[int, Proc]) -> dict[Ref, list[Proc]]:
        """The living processes of every worker, roots included."""
        self._seen = {key: ref for key, ref in self._seen.items() if _present(key, table)}
        self._strangers = {key: name for key, name in self._strangers.items() if _present(key, table)}
        self.undecided = False
        named = {pid: ref for ref, pids in list(self.told.items()) for pid in pids}
        owners: dict[int, Ref | None] = {os.getpid(): None}
        members: dict[Ref, list[Proc]] = {}
        for proc in table.values():
            ref = self._seen.get(proc.key) or self._owner(proc, table, owners, named)
            if ref is not None and proc.state != ZOMBIE:
                members.setdefault(ref, []).append(proc)
        return members

    def _owner(
        self, proc: Proc, table: Mapping[int, Proc], owners: dict[int, Ref | None], named: Mapping[int, Ref]
    ) -> Ref | None:
        """Walk up the parents until one is known; remember the answer for all on the way."""
        path: list[Proc] = []
        at: Proc | None = proc
        ref: Ref | None = None
        while at is not None and at.pid not in owners:
            path.append(at)
            owners[at.pid] = None  # a broken table must not send us round in circles
            ref = self._itself(at, named)
            if ref is not None or at.ppid not in table:
                break
            at = table[at.ppid]
        else:
            ref = owners[at.pid] if at is not None else None
        for each in path:
            owners[each.pid] = ref
            if ref is not None:
                self._seen[each.key] = ref
        return ref

    def _itself(self, proc: Proc, named: Mapping[int, Ref]) -> Ref | None:
        """What the process alone tells, whoever its parent is."""
        ref = self._seen.get(proc.key) or self.roots.get(proc.pid) or self.roots.get(proc.session)
        if ref is not None:
            return ref
        if proc.ppid == os.getpid() or proc.pid in named or wire.worker_of(proc.name):
            return self._by_environment(proc)
        return None

    def _by_environment(self, proc: Proc) -> Ref | None:
        """A child of ours that we did not start, or a pid named in a beat: its environment says whose it is.

        A beat alone is not believed: a worker that names a stranger's pid must not get it killed.
        """
        if self._strangers.get(proc.key) == proc.name:
            return None
        told = proctable.told(proc)
        if told is None:
            self.undecided |= proc.state != ZOMBIE
            return None
        directory, name = told
        ref = next((ref for ref in self.roots.values() if str(ref) == name), None)
        if ref is None or directory != self.runtime_dir:
            self._strangers[proc.key] = proc.name
            return None
        return ref

    def known(self, ref: Ref) -> list[Key]:
        """What was there of the worker at the last look. May be asked without the lock."""
        return [key for key, owner in list(self._seen.items()) if owner == ref]

    def forget(self, gone: Iterable[Ref]) -> None:
        """Drop workers whose last process is gone."""
        refs = set(gone)
        self.roots = {pid: ref for pid, ref in self.roots.items() if ref not in refs}
        for ref in refs:
            self.told.pop(ref, None)


def orphan_zombies(table: Mapping[int, Proc], ours: Collection[int]) -> list[int]:
    """Dead processes that were left to us, the subreaper, and that nobody else will reap."""
    me = os.getpid()
    return [proc.pid for proc in table.values() if proc.ppid == me and proc.state == ZOMBIE and proc.pid not in ours]


def _present(key: Key, table: Mapping[int, Proc]) -> bool:
    proc = table.get(key[0])
    return proc is not None and proc.started == key[1]
