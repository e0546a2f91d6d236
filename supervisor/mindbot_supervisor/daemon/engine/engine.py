"""The engine of one pool: its life, its clock, and the wiring of the parts that bring facts and carry out actions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import GiveUp
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.core.workers.model import Change, Phase, Ref
from mindbot_supervisor.daemon.engine.action_executor import ActionExecutor
from mindbot_supervisor.daemon.engine.running_workers import RunningWorkers, WriteOutput
from mindbot_supervisor.daemon.engine.worker_exits import WorkerExits
from mindbot_supervisor.daemon.engine.worker_facts import WorkerFacts
from mindbot_supervisor.daemon.engine.worker_stacks import WorkerStacks
from mindbot_supervisor.monitoring.activities import Activities
from mindbot_supervisor.monitoring.background_tasks import BackgroundTasks
from mindbot_supervisor.processes.launching.child_process import Child
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions
from mindbot_supervisor.processes.launching.worker_launcher import WorkerLauncher
from mindbot_supervisor.processes.limits.pids_limit import PidsLimit
from mindbot_supervisor.processes.trees.process_monitor import ProcessMonitor
from mindbot_supervisor.processes.trees.stalled_processes import StalledJobs, StoppedHelpers, kill_stopped
from mindbot_supervisor.recovery.recovery_tasks import Recoveries

LOOK_GRACE = 0.1
"""Seconds that a look of the sampler may be late; usually it saves the tick a wake-up of its own."""
STOPPED_HELPER = "it is stopped (state T) and would start no process: it is killed, and a new one is built"


class Engine:
    """Drives one pool. All methods belong to the loop's thread."""

    def __init__(
        self,
        pool: Pool,
        launch: LaunchOptions,
        activities: Activities,
        *,
        began: float,
        tell: Callable[[Change], None],
        write_output: WriteOutput,
    ) -> None:
        self.pool, self._tell = pool, tell
        self.gave_up: GiveUp | None = None
        self.ended = asyncio.Event()
        """Set when the pool was told to stop and nothing of it is left, or when it gave up."""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._deciding = activities.add("decisions", essential=True)
        self._stopped_helpers = StoppedHelpers()
        self.tasks = tasks = BackgroundTasks()
        self.workers = workers = RunningWorkers(
            pool,
            Path(launch.runtime_dir),
            activities.add("worker records"),
            write_output=write_output,
            leftover_ended=lambda ref: self._exits.leftover_ended(ref),
        )
        self.launcher = WorkerLauncher(
            launch,
            started=lambda ref, child: self.facts.started(ref, child),
            failed=lambda ref, why: self.facts.start_failed(ref, why),
            ran_short=lambda ref, why: self.facts.ran_short(ref, why),
            orphaned=lambda refs: self.facts.job_forkserver_ended(refs),
            agent_failed=self._agent_failed,
        )
        self.processes = processes = ProcessMonitor(
            pool,
            self.launcher,
            activities,
            began=began,
            tell=tell,
            looked=self._looked,
            workers=workers.pids,
            changed=workers.record,
        )
        workers.members_outside_session = processes.beyond
        self.recoveries = Recoveries(pool, self.carry_out, tasks.start, activities.add("recovery"))
        stalled_jobs = StalledJobs(processes, workers.running, self._is_being_killed)
        pids_limit = PidsLimit()
        stacks = WorkerStacks(pool, self.carry_out, workers, processes, stalled_jobs, tell)
        self._exits = WorkerExits(
            pool,
            self.carry_out,
            workers,
            processes,
            self.launcher,
            self.recoveries,
            stacks,
            tasks,
            pids_limit,
            tree_ended=self._check_ended,
        )
        self.facts = WorkerFacts(
            pool,
            self.carry_out,
            workers,
            processes,
            stalled_jobs,
            pids_limit,
            tell=tell,
            process_ended=self._exits.process_ended,
        )
        self._actions = ActionExecutor(
            workers, processes, self.launcher, self.recoveries, self._exits, stacks, tasks, self._give_up
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: beside whatever a crashed daemon left behind."""
        for record in self.workers.find_leftovers():
            self.facts.adopt(record)
        self.processes.start()
        self.launcher.prepare()
        self._tick()

    def stop(self) -> None:
        self.carry_out(self.pool.stop(time.monotonic()))

    def stop_now(self) -> None:
        self.carry_out(self.pool.stop_now(time.monotonic()))

    async def settled(self, within: float) -> None:
        """Return when no tree is being ended and no stack is taken, or after so many seconds."""
        await self.tasks.settled(within)

    async def close(self) -> None:
        """After `ended`: end the sampler, and wait until the last trees are gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.processes.stop()
        self.workers.stop_listening()
        self.recoveries.cancel()
        await self.tasks.finish()
        await self.recoveries.close()
        await self.launcher.close()
        self.workers.close()
        await self.processes.close()

    def children(self) -> dict[Ref, tuple[Child, bytes]]:
        """Every running child, with the beginning of a heartbeat line that was read already."""
        return {ref: (running.child, running.beats.peek()) for ref, running in self.workers.running.items()}

    @property
    def launch(self) -> LaunchOptions:
        """What workers are started with from now on."""
        return self.launcher.launch

    @launch.setter
    def launch(self, launch: LaunchOptions) -> None:
        self.launcher.launch = launch
        self.launcher.prepare()

    # -- actions of the pool -------------------------------------------------------------------------------------------

    def carry_out(self, effects: Effects) -> None:
        """Tell and do what the pool has decided."""
        for change in effects.changes:
            self._tell(change)
            if change.event == log_events.WORKER_READY:
                self.recoveries.get_ready()
        for action in effects.actions:
            self._actions.execute(action)
        self._check_ended()

    def _give_up(self, why: GiveUp) -> None:
        self.gave_up = why
        self.carry_out(self.pool.give_up(time.monotonic()))

    def _agent_failed(self, why: str) -> bool:
        self.facts.agent_failed(why)
        return self.gave_up is not None

    def _check_ended(self) -> None:
        waited_for = [worker for worker in self.pool.workers.values() if not (self.gave_up and worker.leftover)]
        if self.pool.stopping and not (waited_for or self.workers.running or self.processes.ends.busy):
            self.ended.set()

    # -- the clock -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Let the pool judge what is known: after each round of the sampler, or by the clock if none comes in time."""
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        wait = self.pool.policy.limits.check_interval + LOOK_GRACE
        self._timer = self._loop.call_later(wait, self._tick)  # first, whatever becomes of this tick
        self._deciding.attempt(lambda: self.carry_out(self.pool.tick(now)), pause=False)
        self.recoveries.tick(now)
        due = self.pool.wake_at()
        if due is not None and due - now < wait:
            self._timer.cancel()
            self._timer = self._loop.call_later(max(due - now, 0.01), self._tick)

    def _looked(self) -> None:
        """The sampler has finished a round."""
        self.workers.record_missing()
        self._kill_stopped_helpers(time.monotonic())
        if self._timer is not None:
            self._tick()

    def _kill_stopped_helpers(self, now: float) -> None:
        """Kill a template or job forkserver that was stopped: a new one is built at its end."""
        patience = self.pool.policy.limits.suspect_after
        for pid, seconds in self._stopped_helpers.look(self.launcher.helpers(), now, patience):
            fields = {"seconds": round(seconds, 3), "limit": patience, "detail": STOPPED_HELPER}
            self._tell(Change(log_events.TEMPLATE_STOPPED, now, None, pid, "warning", fields))
            kill_stopped(pid)

    def _is_being_killed(self, ref: Ref) -> bool:
        worker = self.pool.workers.get(ref)
        return worker is None or worker.phase is Phase.KILLING
