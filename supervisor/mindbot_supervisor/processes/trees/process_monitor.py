"""Monitors the workers' processes: each round samples them in a thread, and brings the samples to the pool.

Besides: which process belongs to whom, the end of dead workers' trees and of orphans, and what the kernel's OOM killer
did. It decides nothing; it measures, and carries out.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from mindbot_config.host.cgroups import Mounts
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import Change, Exit, Ref, Sample
from mindbot_supervisor.monitoring import process_table
from mindbot_supervisor.monitoring.activities import Activities, Rounds
from mindbot_supervisor.monitoring.oom_killer import KernelLog, OomKiller
from mindbot_supervisor.monitoring.process_table import Key, Process
from mindbot_supervisor.monitoring.process_tree import ProcessTree
from mindbot_supervisor.monitoring.sampler import Look, Sampler
from mindbot_supervisor.processes.launching.child_process import Child
from mindbot_supervisor.processes.launching.worker_launcher import WorkerLauncher
from mindbot_supervisor.processes.trees import orphan_reaper
from mindbot_supervisor.processes.trees.kill_process_tree import ProcessTreeKiller
from mindbot_supervisor.processes.trees.orphan_reaper import Orphan
from mindbot_worker.protocol.heartbeat import Beat

SILENT_ROUNDS, SILENT_LEAST = 5, 10.0
"""So many rounds of the sampler, but no less than so many seconds, may be missing before memory counts as unwatched."""
CLOCK_STEP = 0.02
"""Seconds, two steps of the clock that says when a process was started."""
LEFTOVER_GRACE = 1.0
"""Seconds that helpers of a worker which ended as asked have to follow it (LiveKit's end within 0.5 s)."""

Tell = Callable[[Change], None]


class ProcessMonitor:
    """Samples processes, and knows which belong to whom. All methods belong to the loop's thread.

    `began` is when the daemon did, on the monotonic clock; `looked` is called after each round; `workers` gives the
    pids of all workers that run; `changed` is told of a worker of which more, or less, would have to be recorded.
    """

    def __init__(
        self,
        pool: Pool,
        launcher: WorkerLauncher,
        activities: Activities,
        *,
        began: float,
        tell: Tell,
        looked: Callable[[], None],
        workers: Callable[[], set[int]],
        changed: Callable[[Ref], None],
    ) -> None:
        self._pool, self._launcher, self._tell = pool, launcher, tell
        self._looked_at, self._workers, self._changed = looked, workers, changed
        self._loop = asyncio.get_running_loop()
        self.tree = ProcessTree(self._contested, began=process_table.seconds_since_boot(began) - CLOCK_STEP)
        self.ends = ProcessTreeKiller(self.tree, self._orphan_ended)
        self.oom = OomKiller(Mounts.find(), KernelLog())
        self._sampler = Sampler(self.tree, pool.policy.memory_soft_mb, self.oom.mounts)
        sampling = activities.add("sampler", essential=True)
        self._taking = activities.add("samples", essential=True)
        self._rounds = Rounds(sampling, self._sample, pool.policy.limits.check_interval)
        self._beyond: dict[Ref, frozenset[Process]] = {}
        self.other_children: set[int] = set()
        """Pids of children that are no workers; somebody else reaps them."""
        self.helpers: Mapping[int, Sample] = {}
        """What the template and its job server take, by pid."""
        self.on_sample: Callable[[Ref, Sample, float], None] = lambda *_: None
        self.gap = 0.0
        """Seconds between the last two rounds, on the monotonic clock."""

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._follow_policy()
        self._rounds.start()

    def stop(self) -> None:
        self._rounds.stop()

    async def close(self) -> None:
        """End and reap whatever is left, after the end of the pool and of the launcher."""
        await self.ends.end_all(self.known_children, LEFTOVER_GRACE)
        self._reap(process_table.zombies(list(self.tree.table.processes.values())))
        self.oom.log.close()

    def known_children(self) -> set[int]:
        """Pids of children that are no workers."""
        return self.other_children | self._launcher.pids()

    # -- workers -------------------------------------------------------------------------------------------------------

    def take(self, ref: Ref, child: Child) -> None:
        """Count this child as a worker from now on."""
        self.tree.take(child.pid, ref, [pipe.fileno() for pipe in (child.beats, child.leash, child.output)])
        self.oom.spawned(ref, child.pid, time.monotonic())

    def adopt(self, ref: Ref, pid: int, members: Iterable[Key]) -> None:
        """Count a worker of a daemon before us, with the processes that were recorded as its own."""
        self.tree.take(pid, ref)
        self.tree.restore_members(ref, members)

    def heard(self, ref: Ref, beat: Beat) -> None:
        """Note the job processes that a worker names in its heartbeat."""
        self.tree.named[ref] = (*beat.pids, *(call.pid for call in beat.calls if call.pid is not None))

    def beyond(self, ref: Ref) -> list[Key]:
        """The worker's processes outside of its session: the next daemon could not find them by that."""
        return process_table.keys(self._beyond.get(ref, ()))

    def cause(self, ref: Ref, pid: int, ended: Exit, *, unexplained: bool) -> Exit:
        """The exit, and where it is unexplained what the kernel says of it."""
        found = self.oom.explain(ref, pid, time.monotonic()) if unexplained else None
        self.oom.forget(ref)
        return ended if found is None else replace(ended, oom=found.certain, detail=found.detail)

    async def members(self, ref: Ref) -> list[Process]:
        self._follow_launcher()
        return await self.ends.members(ref)

    async def kill(self, ref: Ref) -> None:
        """Kill all that belongs to a worker, itself included."""
        self._follow_launcher()
        for orphan in await self.ends.kill(ref):
            self._orphan_ended(ref, orphan)

    async def end(self, ref: Ref, grace: float) -> None:
        """End what is left of a dead worker."""
        self._follow_launcher()
        await self.ends.end(ref, grace, self.known_children)
        self._beyond.pop(ref, None)

    # -- a round -------------------------------------------------------------------------------------------------------

    def _sample(self, now: float) -> None:
        """One round, in the sampler's thread."""
        look = self._sampler.look(now)
        self._from_thread(partial(self._taking.attempt, partial(self._take, look), pause=False))

    def _take(self, look: Look) -> None:
        now = time.monotonic()
        self.gap = look.gap
        self.oom.looked({ref: reading for ref, reading in look.kills.items() if ref in self._pool.workers})
        self._pool.host(look.host, now)
        self._follow_policy()
        self.helpers, self._sampler.helpers = look.helpers, self._launcher.helpers()
        for ref, sample in look.samples.items():
            self._pool.sample(ref, sample, now)
            self.on_sample(ref, sample, now)
        self._reap(look.zombies)
        for ref in [ref for ref in {*look.beyond, *self._beyond} if self._beyond.get(ref) != look.beyond.get(ref)]:
            self._beyond[ref] = look.beyond.get(ref, frozenset())
            self._changed(ref)
        self._looked_at()

    def _follow_policy(self) -> None:
        """Give the limits in force to the sampler."""
        limits = self._pool.policy.limits
        self._rounds.interval, self._sampler.soft_mb = limits.check_interval, self._pool.policy.memory_soft_mb
        self._rounds.activity.silent_after = max(SILENT_ROUNDS * limits.check_interval, SILENT_LEAST)
        self._follow_launcher()

    def _follow_launcher(self) -> None:
        """Learn the templates and job forkservers before a look, so that none of them is taken for an orphan."""
        self.tree.jobservers = frozenset(pid for pid, _, _ in self._launcher.jobservers.known())
        self.tree.templates |= self._launcher.pids()

    def _reap(self, zombies: Iterable[int]) -> None:
        orphan_reaper.reap(zombies, self._workers() | self.known_children())

    def _orphan_ended(self, ref: Ref | None, orphan: Orphan) -> None:
        detail = "it had left its worker's session, and ended with it" if ref is not None else "it ended with the pool"
        fields = {"process": orphan.pid, "name": orphan.name, "detail": detail}
        self._tell(Change(log_events.ORPHAN_ENDED, time.monotonic(), ref, None, "warning", fields))

    def _contested(self, pid: int, refs: Sequence[Ref]) -> None:
        """Tell that several workers name the same job process; called in the thread that looks."""
        detail = "several workers name this job process as their own; it counts for none of them"
        fields = {"process": pid, "claimed_by": [str(ref) for ref in refs], "detail": detail}
        change = Change(log_events.CLAIM_CONTESTED, time.monotonic(), None, None, "warning", fields)
        self._from_thread(partial(self._tell, change))

    def _from_thread(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon is ending
            self._loop.call_soon_threadsafe(call)
