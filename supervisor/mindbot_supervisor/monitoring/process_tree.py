"""Decides which process belongs to which worker: by descent, never by what a process calls itself.

Seen, in this order: the worker's own pid; its session, which nobody can join from outside; the parent. A process of
which all of that is gone, because it left session and parent behind between two looks, is an orphan: the kernel gave it
to us, the subreaper, so that it comes from one of ours, and what it holds open may tell which (`orphan_origin`). Job
processes are forked by a server that works for all workers: there, and only there, a worker's word counts.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring import orphan_origin
from mindbot_supervisor.monitoring.process_table import GONE, Key, Process, ProcessTable

EXAMINED = 3
"""So many looks, then nothing new is to be learned of an orphan."""

Contested = Callable[[int, list[Ref]], None]
"""Takes the pid of a process that several workers name as their own, and who they are."""


@dataclass(frozen=True, slots=True)
class Root:
    """A worker's own process. Descent from it is what makes a process the worker's."""

    pid: int
    ref: Ref
    pipes: frozenset[int] = frozenset()
    """Inodes of its pipes to us, which its children inherit."""


@dataclass(slots=True)
class ProcessTree:
    """The trees of all workers. `look` may be called in any thread; all else belongs to the loop's, and never waits for
    a look.
    """

    contested: Contested = lambda *_: None
    """Called in the thread that looks."""
    table: ProcessTable = field(default_factory=ProcessTable)
    roots: dict[int, Root] = field(default_factory=dict)
    """By pid, which is also the id of its session. Kept until the whole tree is gone."""
    named: dict[Ref, tuple[int, ...]] = field(default_factory=dict)
    """Pids that a worker named in its last beat."""
    recorded: dict[Key, Ref] = field(default_factory=dict)
    """What a daemon before us has left word of, and cannot be seen by descent any more."""
    jobservers: frozenset[int] = frozenset()
    """Pids of the servers from which job processes are forked."""
    templates: set[int] = field(default_factory=set)
    """Pids of all templates there ever were: the sessions of their job servers."""
    began: float = float("-inf")
    """When the daemon began, in seconds since boot: no process of ours is older."""
    _members: Mapping[Ref, list[Process]] = field(default_factory=dict)
    _told: set[int] = field(default_factory=set)
    _looking: threading.Lock = field(default_factory=threading.Lock)
    me: int = field(default_factory=os.getpid)

    # -- for the loop's thread -----------------------------------------------------------------------------------------

    def take(self, pid: int, ref: Ref, pipes: Iterable[int] = ()) -> None:
        """Add the root of a worker's tree. `pipes` are our descriptors of its pipes."""
        self.roots[pid] = Root(pid, ref, frozenset(os.fstat(fd).st_ino for fd in pipes))

    def restore_members(self, ref: Ref, recorded: Iterable[Key]) -> None:
        """Count as the worker's what a daemon before us recorded as such."""
        self.recorded.update(dict.fromkeys(recorded, ref))
        self.table.forget_strangers()

    def forget(self, ref: Ref) -> None:
        """Forget a worker whose last process is gone."""
        self.roots = {pid: root for pid, root in self.roots.items() if root.ref != ref}
        self.recorded = {key: owner for key, owner in self.recorded.items() if owner != ref}
        self.named.pop(ref, None)

    def known(self, ref: Ref) -> list[Process]:
        """The processes of the worker at the last look."""
        return list(self._members.get(ref, ()))

    def root_of(self, ref: Ref) -> int | None:
        return next((pid for pid, root in self.roots.items() if root.ref == ref), None)

    # -- a look --------------------------------------------------------------------------------------------------------

    def look(self) -> Mapping[Ref, list[Process]]:
        """Every process of every worker, roots included, dead ones too. Raises OSError without descriptors."""
        with self._looking:
            roots = dict(self.roots)
            recorded = {pid for pid, _ in self.recorded}
            self.table.look(time.monotonic(), roots, recorded)
            processes = list(self.table.processes.values())
            for each in processes:
                if each.ref is None and each.anchor is None:
                    self._assign_owner(each, roots)
            self._apply_claims(roots)
            members: dict[Ref, list[Process]] = {}
            for each in processes:
                if (owner := each.owner) is not None:
                    members.setdefault(owner, []).append(each)
            self._members = members
            return members

    def drop(self, pid: int) -> None:
        """Forget a process whose pid belongs to another by now."""
        with self._looking:
            self.table.drop(pid)

    # -- what belongs to nobody ----------------------------------------------------------------------------------------

    def without_older_root(self, known: Collection[int]) -> list[Process]:
        """Orphans whose worker is not known, but certainly ended: whatever of ours still lives is younger than they.

        `known` are our children that are no workers: an orphan may come from them as well.
        """
        if self.me == 1:
            return []  # whatever is orphaned in this container comes to us, and need not be a worker's
        possible = {*self.roots, *known, *self.jobservers}
        orphans = [each for each in self.descendants(without=known) if each.owner is None and each.ppid == self.me]
        if not orphans:
            return []
        living = [self.table.processes.get(pid) for pid in possible]
        if None in living:
            return []  # one that has only just been started, and not been seen yet
        oldest = min((each.started for each in living if each is not None), default=float("inf"))
        return [each for each in orphans if each.started < oldest]

    def descendants(self, without: Collection[int]) -> list[Process]:
        """All that descends from us and is no root, but for these children of ours and what descends from them."""
        found, left_out = [], {*without, *self.jobservers}
        for each in list(self.table.processes.values()):  # parents come before their children
            if each.foreign:
                continue
            if each.pid in left_out or (each.parent is not None and each.parent.pid in left_out):
                left_out.add(each.pid)
            elif each.pid not in self.roots:
                found.append(each)
        return found

    def _assign_owner(self, each: Process, roots: Mapping[int, Root]) -> None:
        """Find the worker of a process, as far as that can be seen now."""
        root = roots.get(each.pid) or roots.get(each.session)
        if each.foreign:
            return
        if root is not None:
            each.ref = root.ref
        elif self.recorded and (ref := self._of_record(each)) is not None:
            each.ref = ref
        elif each.claimable:
            return
        elif each.parent is not None:
            self._assign_owner_of_parent(each, each.parent)
        elif each.ppid == self.me and each.pid not in self.templates:
            self._assign_owner_of_orphan(each, roots)

    def _assign_owner_of_orphan(self, each: Process, roots: Mapping[int, Root]) -> None:
        """Find the worker of a child of ours that we may not have started."""
        if each.session in self.templates:
            each.claimable = each.pid not in self.jobservers
        elif each.looks < EXAMINED:
            each.looks += 1
            each.foreign = each.looks == 1 and self._is_older(each)
            each.ref = None if each.foreign else orphan_origin.find(each, roots.values())

    def _is_older(self, each: Process) -> bool:
        try:
            return each.started < self.began
        except GONE:
            return False

    def _assign_owner_of_parent(self, each: Process, parent: Process) -> None:
        """Give a process the worker of its parent."""
        while parent.parent is not None and not self._is_there(parent):
            parent = each.parent = parent.parent
        if parent.foreign:
            each.foreign, each.parent = True, None
        elif parent.pid in self.jobservers:
            each.claimable, each.parent = True, None
        elif parent.claimable:
            each.anchor, each.parent = parent, None
        elif parent.anchor is not None:
            each.anchor, each.parent = parent.anchor, None
        elif parent.ref is not None:
            each.ref, each.parent = parent.ref, None
        elif not self._is_there(parent):
            each.ppid, each.parent = self.me, None  # what an orphan leaves behind is an orphan

    def _is_there(self, each: Process) -> bool:
        return self.table.processes.get(each.pid) is each

    def _of_record(self, each: Process) -> Ref | None:
        try:
            return self.recorded.get(each.key)
        except GONE:
            return None

    def _apply_claims(self, roots: Mapping[int, Root]) -> None:
        """Give workers the job processes that they name: of our user, from a job forkserver, and named by no other
        worker.
        """
        living = {root.ref for root in roots.values()}
        claims: dict[int, list[Ref]] = {}
        for ref, pids in list(self.named.items()):
            for pid in pids if ref in living else ():
                claims.setdefault(pid, []).append(ref)
        for pid, refs in claims.items():
            each = self.table.processes.get(pid)
            if each is None or not each.claimable or each.uid != os.getuid():
                continue
            if len(refs) == 1 and each.ref in (None, refs[0]):
                each.ref = refs[0]
            else:
                self._contest(each, sorted({*refs, *({each.ref} if each.ref in living else ())}))

    def _contest(self, each: Process, refs: list[Ref]) -> None:
        """Give a job process that several workers name to none of them: it must not end with one of them."""
        if len(refs) == 1:
            each.ref = refs[0]
            return
        each.ref = None
        if each.pid not in self._told:
            self._told = {pid for pid in self._told if pid in self.table.processes} | {each.pid}
            self.contested(each.pid, refs)
