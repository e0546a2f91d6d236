"""Stacks of workers that are about to be killed, and of job processes that went silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import KillJob, LookAtJob
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_supervisor.daemon.engine.running_workers import RunningWorkers
from mindbot_supervisor.processes.trees import stack_dump
from mindbot_supervisor.processes.trees.process_monitor import ProcessMonitor
from mindbot_supervisor.processes.trees.stalled_processes import StalledJobs

NO_STACK = "no process of it wrote a stack: it is stopped, or does not serve SIGUSR2"


@dataclass(slots=True)
class WorkerStacks:
    """Has stacks written to the workers' output, where they are collected, and reports them."""

    pool: Pool
    carry_out: Callable[[Effects], None]
    workers: RunningWorkers
    processes: ProcessMonitor
    stalled_jobs: StalledJobs
    tell: Callable[[Change], None]

    async def dump(self, ref: Ref) -> None:
        """Ask all processes of a worker for their stacks. Collecting has begun by then."""
        tree = await self.processes.members(ref)
        running = self.workers.running.get(ref)
        if running is not None:
            await stack_dump.ask(tree, running.child.pid, running.output)

    def report(self, ref: Ref) -> None:
        """Tell the stacks that were collected, or that there were none: a stopped process cannot write one."""
        running, worker = self.workers.running.get(ref), self.pool.workers.get(ref)
        if running is None or worker is None or not running.output.dumping:
            return
        running.drain_output()
        answered, stack = running.output.answered, running.output.end_stack()
        fields: dict[str, object] = {} if stack is None else {"stack": stack}
        if not answered:
            fields["detail"] = NO_STACK
        self.tell(Change(log_events.WORKER_STACK, time.monotonic(), ref, running.child.pid, "warning", fields))

    async def look_at_job(self, action: LookAtJob) -> None:
        """Report to the pool what a silent job process does."""
        found = await self.stalled_jobs.look(action.ref, action.pid)
        self.carry_out(self.pool.job_looked(action.ref, action.job, found, time.monotonic()))

    async def kill_job(self, action: KillJob) -> None:
        """Kill a silent job process, and report to the pool what it did."""
        found = await self.stalled_jobs.kill(action.ref, action.pid)
        self.carry_out(self.pool.job_killed(action.ref, action.job, found, time.monotonic()))
