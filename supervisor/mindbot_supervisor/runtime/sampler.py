"""Samples every worker's tree in a thread of its own: one pass over /proc for all of them.

Reading PSS makes the kernel walk a process's page tables, so it is done where it can matter: when the cheap RSS, which
is never less, is above the soft limit and moves, and for everybody once in a while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mindbot_supervisor.core.model import Ref, Sample
from mindbot_supervisor.core.pressure import Host

from . import memory, oom, pressure
from .cgroups import Cgroups
from .family import Family
from .oom import Reading
from .proctable import TICKS, Proc
from .scan import Scan

FULL_EVERY, QUIET_EVERY = 10.0, memory.AGAIN
"""Seconds between two full readings of a tree that is far from its limit, and of one whose RSS stands still."""
MOVED = 1.0
"""MiB of RSS, up or down, since the last full reading."""
HOST_EVERY = 2.0
"""Seconds between two looks at the host: the kernel's averages are renewed every 2 s (PSI_FREQ)."""


@dataclass(slots=True)
class Look:
    """What one round found."""

    samples: dict[Ref, Sample]
    table: Mapping[int, Proc]
    kills: Mapping[Ref, Reading]
    """Each worker's counters of OOM kills."""
    host: Host
    helpers: Mapping[int, Sample]
    """By pid."""


@dataclass(slots=True)
class _Known:
    cpu_ticks: int
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
    """`deliver` is called in the sampler's thread with each `Look`."""

    family: Family
    lock: threading.Lock
    interval: float
    soft_mb: float
    deliver: Callable[[Look], None]
    cgroups: Cgroups = field(default_factory=Cgroups)
    helpers: frozenset[int] = frozenset()
    """Pids of processes that work for all workers together."""
    _scan: Scan = field(default_factory=Scan)
    _footprints: memory.Footprints = field(default_factory=memory.Footprints)
    _known: dict[Ref | int, _Known] = field(default_factory=dict)
    _readings: dict[Ref, oom.Reading] = field(default_factory=dict)
    _host: Host = field(default_factory=Host)
    _host_at: float = float("-inf")
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        pause = self.interval
        while not self._stop.wait(pause):
            began = time.monotonic()
            self.deliver(self.look(began))
            pause = max(self.interval - (time.monotonic() - began), self.interval / 2)

    def look(self, now: float) -> Look:
        """One round over all workers."""
        with self.lock:
            roots = dict(self.family.roots)
            named = {pid for pids in list(self.family.told.values()) for pid in pids}
        table = self._scan.look(now, roots, named)
        with self.lock:
            trees = self.family.sort(table)
        samples = {ref: self._sample(ref, tree, now) for ref, tree in trees.items()}
        helpers = {pid: self._sample(pid, [table[pid]], now) for pid in self.helpers if pid in table}
        self._known = {key: known for key, known in self._known.items() if key in samples or key in helpers}
        self._footprints.keep(table)
        kills = oom.read(self.cgroups, roots, now, self._readings)
        self._readings = {ref: reading for ref, reading in (self._readings | kills).items() if ref in trees}
        if now - self._host_at >= HOST_EVERY:
            self._host, self._host_at = pressure.look(), now
        return Look(samples, table, kills, self._host, helpers)

    def _sample(self, key: Ref | int, tree: Sequence[Proc], now: float) -> Sample:
        known = self._known.get(key)
        rss = memory.resident(tree)
        if known is None or known.stale(rss, now, self.soft_mb):
            full_at, (pss, uss, full_rss) = now, self._footprints.of(tree, now)
        else:
            full_at, pss, uss, full_rss = known.full_at, known.pss, known.uss, known.rss
        ticks = sum(proc.cpu_ticks for proc in tree)
        percent = 0.0
        if known is not None and now > known.at:
            # Members that ended take their ticks with them; that is no negative work.
            percent = max(0.0, (ticks - known.cpu_ticks) / TICKS / (now - known.at) * 100)
        self._known[key] = _Known(ticks, now, full_at, pss, uss, full_rss)
        return Sample(pss, uss, rss, percent, len(tree))
