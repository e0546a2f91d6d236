"""Lists the processes that descend from this daemon, by psutil. Each is read until it ends, all others only once.

A host has many processes that are none of ours. Each look lists the pids (one call) and reads only those that were not
there before: whoever descends from us did so from birth.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import psutil

from mindbot_supervisor.core.workers.model import Ref

ANEW_EVERY = 60.0
"""Seconds after which strangers are read again: one of their pids may have become one of ours between two looks."""
GONE = (psutil.NoSuchProcess, ProcessLookupError)
"""What psutil and the kernel raise for a process that has ended; psutil's ZombieProcess is one of these."""

Key = tuple[int, float]
"""A process for as long as the host runs: its pid, and when it started (seconds since boot)."""


@dataclass(slots=True, eq=False)
class Process:
    """One process. psutil's `handle` tells it from a later one with the same pid."""

    handle: psutil.Process
    ppid: int
    """When it was first seen."""
    session: int
    uid: int
    """Its real user."""
    parent: Process | None = None
    """The process that started it, while it is not known to whom both belong."""
    ref: Ref | None = None
    """The worker that it is known to belong to by itself."""
    claimable: bool = False
    """Forked by a server of job processes: it belongs to the worker that names it."""
    anchor: Process | None = None
    """The claimable process that this one descends from."""
    foreign: bool = False
    """A child that was there before the daemon began, as when a shell started it and became the daemon by exec; or one
    that descends from such a child."""
    looks: int = 0
    """How often it was examined for signs of its worker."""
    _started: float | None = None

    @property
    def pid(self) -> int:
        return self.handle.pid

    @property
    def owner(self) -> Ref | None:
        return self.anchor.ref if self.anchor is not None else self.ref

    @property
    def started(self) -> float:
        """Seconds since boot. Raises psutil.NoSuchProcess."""
        if self._started is None:
            self._started = started_at(self.handle)
        return self._started

    @property
    def key(self) -> Key:
        return self.pid, self.started

    @property
    def lives(self) -> bool:
        """Whether the process is still there, is no zombie, and is the same. Raises OSError without descriptors."""
        try:
            return self.handle.is_running() and self.handle.status() != psutil.STATUS_ZOMBIE
        except GONE:
            return False


def started_at(handle: psutil.Process) -> float:
    """Seconds since boot: both numbers are told on the wall clock, and their difference does not move with it."""
    return round(handle.create_time() - psutil.boot_time(), 2)


def keys(processes: Iterable[Process]) -> list[Key]:
    """Of those that are still there."""
    found = []
    for each in processes:
        with contextlib.suppress(*GONE):
            found.append(each.key)
    return found


def seconds_since_boot(monotonic: float) -> float:
    """A moment of the monotonic clock, on the clock of `started`: that one goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - (time.monotonic() - monotonic)


def is_same(pid: int, started: float) -> bool:
    """Whether the process with this pid lives, and was started then."""
    try:
        found = find(pid)
        return found is not None and started_at(found) == started
    except GONE:
        return False


def find(pid: int) -> psutil.Process | None:
    """The process with this pid, or None where there is none, or only what is left of it."""
    try:
        found = psutil.Process(pid)
        return found if found.status() != psutil.STATUS_ZOMBIE else None
    except GONE:
        return None


@dataclass(slots=True)
class ProcessTable:
    """The table of our processes; not for two threads at once. `processes` is what descends from us, in the order in
    which it was found.
    """

    processes: dict[int, Process] = field(default_factory=dict)
    _strangers: set[int] = field(default_factory=set)
    _anew_at: float = float("-inf")
    _me: int = field(default_factory=os.getpid)

    def look(self, now: float, roots: Collection[int], recorded: Collection[int] = ()) -> Mapping[int, Process]:
        """Every process that descends from us, or from one of `roots`: pids, which are those of sessions too.

        `recorded` are pids that a daemon before us has left word of.
        """
        there = set(psutil.pids())
        for pid in self.processes.keys() - there:
            del self.processes[pid]
        if now - self._anew_at >= ANEW_EVERY:
            self._strangers, self._anew_at = set(), now
        self._strangers &= there
        new = there - self.processes.keys() - self._strangers - {self._me}
        self._sort_in([found for pid in sorted(new) if (found := self._read(pid)) is not None], there, roots, recorded)
        return self.processes

    def drop(self, pid: int) -> None:
        """Forget a process whose pid belongs to another by now: that one is read anew."""
        self.processes.pop(pid, None)

    def forget_strangers(self) -> None:
        """Read all other processes again: what descends from a new root may be among them."""
        self._strangers = set()

    def _read(self, pid: int) -> Process | None:
        """Read parent and session of a process; None for one that is certainly not ours."""
        try:
            handle = psutil.Process(pid)
            return Process(handle, handle.ppid(), os.getsid(pid), -1)
        except GONE:
            return None
        except (psutil.AccessDenied, PermissionError):
            self._strangers.add(pid)
            return None

    def _sort_in(
        self, new: list[Process], there: Collection[int], roots: Collection[int], recorded: Collection[int]
    ) -> None:
        """Take what is ours, in several passes: a child may come before its parent, as pids start again from 1 at
        times.
        """
        left = new
        while left:
            others = [each for each in left if not self._take(each, roots, recorded)]
            if len(others) == len(left):
                break
            left = others
        # A parent that was not listed was born, or died, while we looked: that child is read again the next time.
        self._strangers.update(each.pid for each in left if each.ppid in there or each.ppid == 0)

    def _take(self, found: Process, roots: Collection[int], recorded: Collection[int]) -> bool:
        """Follow a process if it is ours; whether it is."""
        parent = self.processes.get(found.ppid)
        ours = found.ppid == self._me or parent is not None or found.pid in roots or found.session in roots
        if ours or found.pid in recorded:
            try:
                found.uid, found.parent = found.handle.uids().real, parent
            except GONE:
                return True  # it is gone
            self.processes[found.pid] = found
            return True
        return False


def zombies(processes: Collection[Process]) -> Iterator[int]:
    """Those that are dead and were left to us, the subreaper, to be reaped."""
    me = os.getpid()
    for each in processes:
        try:
            if each.handle.status() == psutil.STATUS_ZOMBIE and each.handle.ppid() == me:
                yield each.pid
        except GONE:
            continue
