"""The end of a worker: its exit and the cause, and the end of whatever is left of its process tree."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.core.workers.model import Exit, Ref
from mindbot_supervisor.daemon.engine.running_workers import RunningWorkers
from mindbot_supervisor.daemon.engine.worker_stacks import WorkerStacks
from mindbot_supervisor.monitoring.background_tasks import BackgroundTasks
from mindbot_supervisor.processes.launching.worker_launcher import WorkerLauncher
from mindbot_supervisor.processes.limits.pids_limit import PidsLimit
from mindbot_supervisor.processes.trees.process_monitor import LEFTOVER_GRACE, ProcessMonitor
from mindbot_supervisor.recovery.recovery_tasks import DISPATCHES_FIRST, Recoveries


@dataclass(slots=True)
class WorkerExits:
    """Reports exits to the pool, and ends the trees. `tree_ended` is called when nothing of a worker is left."""

    pool: Pool
    carry_out: Callable[[Effects], None]
    workers: RunningWorkers
    processes: ProcessMonitor
    launcher: WorkerLauncher
    recoveries: Recoveries
    stacks: WorkerStacks
    tasks: BackgroundTasks
    pids_limit: PidsLimit
    tree_ended: Callable[[], None]

    def process_ended(self, ref: Ref) -> None:
        """The process of a worker may have ended: if so, take its exit status and report it."""
        running = self.workers.running.get(ref)
        ended = running.child.reap() if running is not None else None
        if running is None or ended is None:
            return
        ended = self._with_cause(ref, running.child.pid, ended)
        self.stacks.report(ref)
        self.workers.remove(ref)
        self.launcher.jobservers.left(ref)
        worker = self.pool.workers.get(ref)
        asked = worker is not None and worker.termed and ended.code == 0
        self._end_tree(ref, LEFTOVER_GRACE if asked else 0.0)
        self.carry_out(self.pool.exited(ref, ended, time.monotonic()))

    def leftover_ended(self, ref: Ref) -> None:
        """A worker that a crashed daemon left behind has ended; how, cannot be known."""
        self._end_tree(ref, LEFTOVER_GRACE)
        self.carry_out(self.pool.exited(ref, Exit(), time.monotonic()))

    def start_withdrawn(self, ref: Ref) -> None:
        """A worker was never started: for the pool it has ended as asked."""
        self.carry_out(self.pool.exited(ref, Exit(code=0), time.monotonic()))

    def _with_cause(self, ref: Ref, pid: int, ended: Exit) -> Exit:
        """The exit, and for a SIGKILL that we did not send what the kernel says of it."""
        worker = self.pool.workers.get(ref)
        ours = worker is not None and worker.killed
        ended = replace(ended, shortage=self.pids_limit.hit(ref))
        return self.processes.cause(ref, pid, ended, unexplained=ended.signal == signal.SIGKILL and not ours)

    def _end_tree(self, ref: Ref, grace: float) -> None:
        """End what is left of a worker, after so many seconds to end by itself."""
        self.processes.ends.begin_end(ref)
        if not grace:
            self.processes.ends.kill_known(ref)
        self.tasks.start(self._end_tree_in_background(ref, grace))

    async def _end_tree_in_background(self, ref: Ref, grace: float) -> None:
        if self.recoveries.under_way:
            await asyncio.sleep(DISPATCHES_FIRST)
        await self.processes.end(ref, grace)
        self.workers.forget(ref)
        self.tree_ended()
