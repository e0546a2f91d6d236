"""Brings facts about the workers to the pool: starts and their failures, heartbeats, leftovers of a crashed daemon."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.core.workers.model import Change, Reason, Ref
from mindbot_supervisor.daemon.engine.running_workers import RunningWorkers
from mindbot_supervisor.monitoring import oom_killer
from mindbot_supervisor.processes.launching.child_process import Child
from mindbot_supervisor.processes.leftover_workers import WorkerRecord
from mindbot_supervisor.processes.limits.pids_limit import PidsLimit
from mindbot_supervisor.processes.trees.process_monitor import ProcessMonitor
from mindbot_supervisor.processes.trees.stalled_processes import StalledJobs
from mindbot_worker.protocol import heartbeat


class WorkerFacts:
    """Everything here is called in the loop's thread. `process_ended` is told of each end of a worker's process."""

    def __init__(
        self,
        pool: Pool,
        carry_out: Callable[[Effects], None],
        workers: RunningWorkers,
        processes: ProcessMonitor,
        stalled_jobs: StalledJobs,
        pids_limit: PidsLimit,
        *,
        tell: Callable[[Change], None],
        process_ended: Callable[[Ref], None],
    ) -> None:
        self.on_beat: Callable[[Ref, heartbeat.Beat, float], None] = lambda *_: None
        """Called with each heartbeat of a worker's own loop, for those who keep records."""
        self._pool, self._carry_out, self._tell = pool, carry_out, tell
        self._workers, self._processes = workers, processes
        self._stalled_jobs, self._pids_limit, self._process_ended = stalled_jobs, pids_limit, process_ended

    # -- starts --------------------------------------------------------------------------------------------------------

    def started(self, ref: Ref, child: Child) -> None:
        self._watch(ref, child)
        self._carry_out(self._pool.spawned(ref, child.pid, time.monotonic(), random.random()))  # noqa: S311

    def resume(self, ref: Ref, child: Child, held: bytes) -> None:
        """Watch a child that an earlier version of this program started; `held` was read of a heartbeat line."""
        self._processes.tree.restore_members(ref, self._workers.recorded_members(ref))
        self._watch(ref, child)
        self._workers.running[ref].beats.feed(held)

    def start_failed(self, ref: Ref, why: str) -> None:
        self._carry_out(self._pool.spawn_failed(ref, why, time.monotonic(), random.random()))  # noqa: S311

    def ran_short(self, ref: Ref, why: str) -> None:
        """The host has nothing left to start this worker with."""
        self._carry_out(self._pool.ran_short(ref, why, time.monotonic()))

    def agent_failed(self, why: str) -> None:
        """The agent can never work."""
        self._carry_out(self._pool.agent_failed(why, time.monotonic()))

    def job_forkserver_ended(self, refs: list[Ref]) -> None:
        """The calls of these workers go on, but they can take no new ones for long: they are replaced."""
        running, pool = self._workers.running, self._pool
        slots = sorted({ref.slot for ref in refs if ref in running and ref.slot in pool.slots})
        if slots and not pool.stopping:
            self._carry_out(pool.restart(slots, time.monotonic(), Reason.TEMPLATE))

    def adopt(self, record: WorkerRecord) -> None:
        """Count a worker that a crashed daemon left behind."""
        self._processes.adopt(record.ref, record.pid, record.members)
        if record.ref not in self._pool.workers:
            self._carry_out(self._pool.adopt(record.ref, record.pid, time.monotonic(), termed=record.termed))

    def _watch(self, ref: Ref, child: Child) -> None:
        running = self._workers.open(ref, child, partial(self._beat, ref), partial(self._beats_dropped, ref))
        self._processes.take(ref, child)
        self._workers.record(ref)
        self._pids_limit.spawned(ref)
        running.watch(partial(self._process_ended, ref))

    # -- heartbeats ----------------------------------------------------------------------------------------------------

    def _beat(self, ref: Ref, line: bytes, now: float) -> None:
        try:
            beat = heartbeat.decode(line)
        except heartbeat.BadBeat as exc:
            self._carry_out(self._pool.beat_rejected(ref, str(exc), now))
            return
        beat = self._pool.names.fit(ref, beat)
        if beat.source == heartbeat.FROM_LOOP:
            self._processes.heard(ref, beat)
            self.on_beat(ref, beat, now)
            for change in oom_killer.jobs_killed(self._processes.oom, self._pool, ref, beat, now):
                self._tell(change)
        suspect_after = self._pool.policy.limits.suspect_after
        stopped = self._stalled_jobs.stopped(beat, suspect_after) if beat.calls else frozenset()
        self._carry_out(self._pool.beat(ref, beat, now, stopped))

    def _beats_dropped(self, ref: Ref, count: int, now: float) -> None:
        self._carry_out(self._pool.beats_dropped(ref, count, now))
