"""Carries out the actions that the pool has decided: one method, a case for each kind of action."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from mindbot_supervisor.core.actions import (
    Action,
    DumpStacks,
    Forget,
    GiveUp,
    Kill,
    KillJob,
    LookAtJob,
    Prepare,
    Recover,
    Spawn,
    Terminate,
    Withdraw,
)
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.daemon.engine.running_workers import RunningWorkers
from mindbot_supervisor.daemon.engine.worker_exits import WorkerExits
from mindbot_supervisor.daemon.engine.worker_stacks import WorkerStacks
from mindbot_supervisor.monitoring.background_tasks import BackgroundTasks
from mindbot_supervisor.processes.launching.worker_launcher import WorkerLauncher
from mindbot_supervisor.processes.trees.process_monitor import ProcessMonitor
from mindbot_supervisor.recovery.recovery_tasks import DISPATCHES_FIRST, Recoveries


@dataclass(slots=True)
class ActionExecutor:
    """Executes actions by the parts that can. `give_up` is called when the pool can never work."""

    workers: RunningWorkers
    processes: ProcessMonitor
    launcher: WorkerLauncher
    recoveries: Recoveries
    exits: WorkerExits
    stacks: WorkerStacks
    tasks: BackgroundTasks
    give_up: Callable[[GiveUp], None]
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def execute(self, action: Action) -> None:
        match action:
            case Spawn(ref=ref):
                self.launcher.start(ref)
            case Withdraw(ref=ref):
                if self.launcher.withdraw(ref):
                    self._loop.call_soon(self.exits.start_withdrawn, ref)
            case Terminate(ref=ref):
                if self.workers.signal(ref, signal.SIGTERM):
                    self.workers.record(ref, termed=True)
            case DumpStacks(ref=ref):
                self._dump_stacks(ref)
            case Kill(ref=ref):
                self.stacks.report(ref)
                self.workers.signal(ref, signal.SIGKILL)
                self.tasks.start(self.processes.kill(ref))
            case LookAtJob():
                self.tasks.start(self.stacks.look_at_job(action))
            case KillJob():
                self.tasks.start(self.stacks.kill_job(action))
            case GiveUp():
                self.give_up(action)
            case Recover():
                self.recoveries.begin(action)
            case Forget(call=call):
                self.recoveries.forget(call)
            case Prepare(ref=ref, processes=processes):
                self._loop.call_later(DISPATCHES_FIRST, self.workers.prepare_jobs, ref, processes)

    def _dump_stacks(self, ref: Ref) -> None:
        if ref in self.workers.running:
            self.workers.running[ref].output.begin_stack()
            self.tasks.start(self.stacks.dump(ref))
