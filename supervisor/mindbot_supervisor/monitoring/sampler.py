"""Samples CPU and memory of all workers' process trees in one pass (psutil).

Reading PSS makes the kernel walk a process's page tables, so it is done where it can matter: when the cheap RSS, which
is never less, is above the soft limit and moves, and for everybody once in a while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from mindbot_config.host.cgroups import Mounts
from mindbot_supervisor.core.health.host_pressure import Host
from mindbot_supervisor.core.workers.model import Ref, Sample
from mindbot_supervisor.monitoring import host_pressure_reader, memory_reader, oom_killer
from mindbot_supervisor.monitoring.memory_reader import Reading
from mindbot_supervisor.monitoring.process_table import GONE, Process
from mindbot_supervisor.monitoring.process_tree import ProcessTree

FULL_EVERY, QUIET_EVERY = 10.0, memory_reader.AGAIN
"""Seconds between two full readings of a tree that is far from its limit, and of one whose RSS stands still."""
MOVED = 1.0
"""MiB of RSS, up or down, since the last full reading."""
HOST_EVERY = 2.0
"""Seconds between two looks at the host: the kernel's averages are renewed every 2 s (PSI_FREQ)."""


@dataclass(slots=True)
class Look:
    """What one round found."""

    samples: Mapping[Ref, Sample]
    zombies: Sequence[int]
    """Dead processes that were left to us."""
    beyond: Mapping[Ref, frozenset[Process]]
    """Of each worker, what its session does not tell: a daemon after us would not find it."""
    kills: Mapping[Ref, oom_killer.Reading]
    """Each worker's counters of OOM kills."""
    host: Host
    helpers: Mapping[int, Sample]
    """By pid."""
    gap: float = 0.0
    """Seconds since the round before, on the monotonic clock: more than the interval where we were not running."""


@dataclass(slots=True)
class _Known:
    cpu: float
    at: float
    full_at: float
    pss: float
    uss: float
    rss: float
    """All three as they were then."""

    def stale(self, rss: float, now: float, soft_mb: float) -> bool:
        """Whether the next reading should be a full one."""
        near, moved = rss > soft_mb, abs(rss - self.rss) >= MOVED
        return (near and moved) or now - self.full_at >= (FULL_EVERY if near or moved else QUIET_EVERY)


@dataclass(slots=True)
class Sampler:
    """`look` is called in a thread of its own, once a round. It raises what psutil and the kernel raise: OSError where
    no descriptor is left, for example; what was known before that stays known.
    """

    tree: ProcessTree
    soft_mb: float
    mounts: Mounts = field(default_factory=Mounts)
    helpers: frozenset[int] = frozenset()
    """Pids of processes that work for all workers together."""
    _memory_reader: memory_reader.MemoryReader = field(default_factory=memory_reader.MemoryReader)
    _known: dict[Ref | int, _Known] = field(default_factory=dict)
    _kills: dict[Ref, oom_killer.Reading] = field(default_factory=dict)
    _host: Host = field(default_factory=Host)
    _host_at: float = float("-inf")
    _last: float | None = None

    def look(self, now: float) -> Look:
        """One round over all workers."""
        gap, self._last = now - (self._last if self._last is not None else now), now
        members = self.tree.look()
        readings, zombies = self._read_all()
        trees = {ref: [readings[each] for each in tree if each in readings] for ref, tree in members.items()}
        samples = {ref: self._sample(ref, tree, now) for ref, tree in trees.items() if tree}
        by_pid = {each.pid: reading for each, reading in readings.items() if each.pid in self.helpers}
        helpers = {pid: self._sample(pid, [reading], now) for pid, reading in by_pid.items()}
        self._known = {key: known for key, known in self._known.items() if key in samples or key in helpers}
        self._memory_reader.forget_others(readings)
        kills = self._look_at_kills(trees, now)
        if now - self._host_at >= HOST_EVERY:
            self._host, self._host_at = host_pressure_reader.look(self.mounts), now
        return Look(samples, zombies, self._beyond(members), kills, self._host, helpers, gap)

    def _read_all(self) -> tuple[dict[Process, Reading], list[int]]:
        """CPU and RSS of all that live, and the pids of those that are dead and ours to reap."""
        found: dict[Process, Reading] = {}
        zombies: list[int] = []
        for each in list(self.tree.table.processes.values()):
            try:
                if not each.handle.is_running():
                    self.tree.drop(each.pid)
                    continue
                times, rss = each.handle.cpu_times(), each.handle.memory_info().rss
                if rss == 0 and each.handle.status() == psutil.STATUS_ZOMBIE:
                    if each.handle.ppid() == self.tree.me:
                        zombies.append(each.pid)
                else:
                    found[each] = Reading(each, times.user + times.system, rss)
            except (*GONE, psutil.AccessDenied):
                continue
        return found, zombies

    def _look_at_kills(self, alive: Mapping[Ref, object], now: float) -> dict[Ref, oom_killer.Reading]:
        roots = {root.pid: root.ref for root in list(self.tree.roots.values())}
        kills = oom_killer.read(self.mounts, roots, now, self._kills)
        self._kills = {ref: reading for ref, reading in (self._kills | kills).items() if ref in alive}
        return kills

    def _beyond(self, members: Mapping[Ref, Sequence[Process]]) -> dict[Ref, frozenset[Process]]:
        roots = {root.ref: root.pid for root in list(self.tree.roots.values())}
        return {
            ref: frozenset(outside)
            for ref, tree in members.items()
            if len(tree) > 1 and (outside := [each for each in tree if each.session != roots.get(ref)])
        }

    def _sample(self, key: Ref | int, tree: Sequence[Reading], now: float) -> Sample:
        known = self._known.get(key)
        rss = memory_reader.resident(tree)
        if known is None or known.stale(rss, now, self.soft_mb):
            full_at, (pss, uss, full_rss) = now, self._memory_reader.of(tree, now)
        else:
            full_at, pss, uss, full_rss = known.full_at, known.pss, known.uss, known.rss
        cpu = sum(each.cpu for each in tree)
        percent = 0.0
        if known is not None and now > known.at:
            # Members that ended take their time with them; that is no negative work.
            percent = max(0.0, (cpu - known.cpu) / (now - known.at) * 100)
        self._known[key] = _Known(cpu, now, full_at, pss, uss, full_rss)
        return Sample(pss, uss, rss, percent, len(tree))
