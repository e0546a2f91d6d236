"""Drives the pool: brings it facts, carries out its actions, passes on its changes. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from mindbot_supervisor.control.leftover_output import LeftoverOutput
from mindbot_supervisor.core import log_events
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
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.core.workers.model import Change, Exit, Phase, Reason, Ref
from mindbot_supervisor.errors import SupervisorError
from mindbot_supervisor.monitoring import oom_killer
from mindbot_supervisor.monitoring.activities import Activities
from mindbot_supervisor.monitoring.process_table import Key
from mindbot_supervisor.processes.launching.child_process import Child
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions
from mindbot_supervisor.processes.launching.worker_launcher import WorkerLauncher
from mindbot_supervisor.processes.leftover_workers import LeftoverWorkers, WorkerRecord, WorkerRecords
from mindbot_supervisor.processes.limits.pids_limit import PidsLimit
from mindbot_supervisor.processes.pipes import worker_inbox_sockets
from mindbot_supervisor.processes.pipes.worker_output import Output
from mindbot_supervisor.processes.pipes.worker_pipes import BatchedReader, RunningWorker
from mindbot_supervisor.processes.trees import stack_dump
from mindbot_supervisor.processes.trees.process_monitor import LEFTOVER_GRACE, ProcessMonitor
from mindbot_supervisor.processes.trees.stalled_processes import StalledJobs, StoppedHelpers, kill_stopped
from mindbot_supervisor.recovery.recovery_tasks import DISPATCHES_FIRST, Recoveries
from mindbot_worker.protocol import heartbeat

LOOK_GRACE = 0.1
"""Seconds that a look of the sampler may be late; usually it saves the tick a wake-up of its own."""

WriteOutput = Callable[[Ref, int, str, str, Mapping[str, object]], None]


class Engine:
    """Owns the children of one pool. All methods belong to the loop's thread."""

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
        self.pool = pool
        self._tell, self._write_output = tell, write_output
        self._loop = asyncio.get_running_loop()
        self.launcher = WorkerLauncher(
            launch,
            started=self._born,
            failed=self._unborn,
            ran_short=self._ran_short,
            orphaned=self._orphaned,
            agent_failed=self._agent_failed,
        )
        self._running: dict[Ref, RunningWorker] = {}
        self._leftovers = LeftoverWorkers(self._leftover_gone)
        self._runtime_dir = Path(launch.runtime_dir)
        self._records = WorkerRecords(self._runtime_dir)
        self._leftover_output = LeftoverOutput(self._runtime_dir, self._output_of_leftover)
        self._beats = BatchedReader()
        self._deciding = activities.add("decisions", essential=True)
        self._recording = activities.add("worker records")
        self._unrecorded: set[Ref] = set()
        self._stopped_helpers = StoppedHelpers()
        self._pids_limit = PidsLimit()
        self.processes = ProcessMonitor(
            pool,
            self.launcher,
            activities,
            began=began,
            tell=tell,
            looked=self._looked,
            workers=self._pids,
            changed=self._record,
        )
        self._stalled_jobs = StalledJobs(self.processes, self._running, self._condemned)
        self._tasks: set[asyncio.Task[None]] = set()
        self.recoveries = Recoveries(pool, self.carry_out, self._background, activities.add("recovery"))
        self._timer: asyncio.TimerHandle | None = None
        self.gave_up: GiveUp | None = None
        self.ended = asyncio.Event()
        """Set when the pool was told to stop and nothing of it is left, or when it gave up."""
        self.on_beat: Callable[[Ref, heartbeat.Beat, float], None] = lambda *_: None
        """For whoever keeps a record of what was heard."""

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: beside whatever a dead daemon left behind."""
        living, names = self._records.leftovers()
        for ref in names:
            self.pool.remember(ref)
        for record in living:
            if record.ref not in self._running:
                self._adopt(record)
        worker_inbox_sockets.remove(self._runtime_dir)
        with contextlib.suppress(SupervisorError):  # only lines of leftovers are lost, and `keep_files` tells it
            self._leftover_output.restore()
        self.processes.start()
        self.launcher.prepare()
        self._tick()

    def restore_files(self, now: float) -> list[str]:
        """Make again what is missing of our files in the runtime directory; the names. Raises SupervisorError."""
        return [*self._records.restore(now), *self._leftover_output.restore()]

    @property
    def launch(self) -> LaunchOptions:
        """What workers are started with from now on."""
        return self.launcher.launch

    @launch.setter
    def launch(self, launch: LaunchOptions) -> None:
        self.launcher.launch = launch
        self.launcher.prepare()

    def stop(self) -> None:
        self.carry_out(self.pool.stop(time.monotonic()))

    def stop_now(self) -> None:
        self.carry_out(self.pool.stop_now(time.monotonic()))

    async def close(self) -> None:
        """After `ended`: end the sampler and wait for the last sweeps."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.processes.stop()
        self._leftover_output.close()
        self.recoveries.cancel()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.recoveries.close()
        await self.launcher.close()
        self._beats.close()
        await self.processes.close()

    def _tick(self) -> None:
        """Judge what is known: with each look of the sampler, and by the clock where none comes in time."""
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        wait = self.pool.policy.limits.check_interval + LOOK_GRACE
        self._timer = self._loop.call_later(wait, self._tick)  # whatever becomes of this one
        self._deciding.attempt(lambda: self.carry_out(self.pool.tick(now)), pause=False)
        self.recoveries.tick(now)
        due = self.pool.wake_at()
        if due is not None and due - now < wait:
            self._timer.cancel()
            self._timer = self._loop.call_later(max(due - now, 0.01), self._tick)

    def _looked(self) -> None:
        """The sampler has come round."""
        for ref in list(self._unrecorded):
            self._record(ref)
        self._end_stopped_helpers(time.monotonic())
        if self._timer is not None:
            self._tick()

    # -- actions -------------------------------------------------------------------------------------------------------

    def carry_out(self, effects: Effects) -> None:
        """Tell and do what the pool has decided."""
        for change in effects.changes:
            self._tell(change)
            if change.event == log_events.WORKER_READY:
                self.recoveries.get_ready()
        for action in effects.actions:
            self._act(action)
        self._check_ended()

    def _check_ended(self) -> None:
        if self.pool.stopping and not self.pool.workers and not self._running and not self.processes.ends.busy:
            self.ended.set()

    def _act(self, action: Action) -> None:
        match action:
            case Spawn(ref=ref):
                self.launcher.start(ref)
            case Withdraw(ref=ref):
                if self.launcher.withdraw(ref):
                    self._loop.call_soon(self._never_born, ref)
            case Terminate(ref=ref):
                self._signal(ref, signal.SIGTERM)
            case DumpStacks(ref=ref):
                if ref in self._running:
                    self._running[ref].output.begin_stack()
                    self._background(self._dump(ref))
            case Kill(ref=ref):
                self._tell_stack(ref)
                self._signal(ref, signal.SIGKILL)
                self._background(self.processes.kill(ref))
            case LookAtJob() | KillJob():
                self._background(self._see_to(action))
            case GiveUp():
                self.gave_up = action
                self.stop_now()
            case Recover():
                self.recoveries.begin(action)
            case Forget(call=call):
                self.recoveries.forget(call)
            case Prepare(ref=ref, processes=processes):
                self._loop.call_later(DISPATCHES_FIRST, self._prepare, ref, processes)

    def _prepare(self, ref: Ref, processes: int) -> None:
        if ref in self._running:
            worker_inbox_sockets.prepare(self._runtime_dir, str(ref), self._running[ref].child.pid, processes)

    def _signal(self, ref: Ref, number: int) -> None:
        running = self._running.get(ref)
        if running is None:
            self._leftovers.signal(ref, number)
            return
        running.child.signal(number)
        if number == signal.SIGTERM:
            self._record(ref, termed=True)

    def _never_born(self, ref: Ref) -> None:
        self.carry_out(self.pool.exited(ref, Exit(code=0), time.monotonic()))

    def _born(self, ref: Ref, born: Child) -> None:
        running = self._started(ref, born)
        self.carry_out(self.pool.spawned(ref, running.child.pid, time.monotonic(), random.random()))  # noqa: S311

    def _unborn(self, ref: Ref, why: str) -> None:
        self.carry_out(self.pool.spawn_failed(ref, why, time.monotonic(), random.random()))  # noqa: S311

    def _ran_short(self, ref: Ref, why: str) -> None:
        self.carry_out(self.pool.ran_short(ref, why, time.monotonic()))

    def _agent_failed(self, why: str) -> bool:
        self.carry_out(self.pool.agent_failed(why, time.monotonic()))
        return self.gave_up is not None

    def _orphaned(self, refs: list[Ref]) -> None:
        """The job server of these workers is gone: their calls go on, but they can take no new ones for long."""
        slots = sorted({ref.slot for ref in refs if ref in self._running and ref.slot in self.pool.slots})
        if slots and not self.pool.stopping:
            self.carry_out(self.pool.restart(slots, time.monotonic(), Reason.TEMPLATE))

    async def settled(self, within: float) -> None:
        """Return when no sweep or dump is under way, or after so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)

    def children(self) -> dict[Ref, tuple[Child, bytes]]:
        """Every running child, with the beginning of a heartbeat line that was read already."""
        return {ref: (running.child, running.beats.peek()) for ref, running in self._running.items()}

    def resume(self, ref: Ref, started: Child, held: bytes) -> None:
        """Watch a child that an earlier version of this program started."""
        self.processes.tree.restore_members(ref, self._records.members(ref))
        self._started(ref, started).beats.feed(held)

    def _record(self, ref: Ref, *, termed: bool = False) -> None:
        """For the daemon after us, if this one dies: what cannot be written is tried again in the next round."""
        running, worker = self._running.get(ref), self.pool.workers.get(ref)
        if running is not None:
            pid, termed = running.child.pid, termed or (worker is not None and worker.termed)
            members = self.processes.beyond(ref)
            self._unrecorded.add(ref)
            self._recording.attempt(lambda: self._write_record(ref, pid, termed, members))

    def _write_record(self, ref: Ref, pid: int, termed: bool, members: Sequence[Key]) -> None:
        self._records.write(ref, pid, termed=termed, members=members)
        self._unrecorded.discard(ref)

    def _started(self, ref: Ref, started: Child) -> RunningWorker:
        beat, dropped = partial(self._beat, ref), partial(self._beats_dropped, ref)
        running = RunningWorker(started, self._output(ref, started.pid), self._beats, beat, dropped)
        self._running[ref] = running
        self.processes.take(ref, started)
        self._record(ref)
        self._pids_limit.spawned(ref)
        running.watch(partial(self._exited, ref))
        return running

    def _output(self, ref: Ref, pid: int) -> Output:
        def write(level: str, event: str, fields: Mapping[str, object]) -> None:
            self._write_output(ref, pid, level, event, fields)

        return Output(write, self._loop.call_later)

    def _adopt(self, record: WorkerRecord) -> None:
        if not self._leftovers.take(record):
            return
        self.processes.adopt(record.ref, record.pid, record.members)
        if record.ref not in self.pool.workers:
            self.carry_out(self.pool.adopt(record.ref, record.pid, time.monotonic(), termed=record.termed))

    def _output_of_leftover(self, name: str) -> Output | None:
        """A reader for the lines of an adopted worker."""
        ref = self._leftovers.named(name)
        worker = self.pool.workers.get(ref) if ref is not None else None
        if worker is None:
            return None
        return self._output(worker.ref, worker.pid or 0)

    def _leftover_gone(self, ref: Ref) -> None:
        self._sweep(ref, LEFTOVER_GRACE)
        self.carry_out(self.pool.exited(ref, Exit(), time.monotonic()))

    async def _dump(self, ref: Ref) -> None:
        tree = await self.processes.members(ref)
        running = self._running.get(ref)
        if running is not None:
            await stack_dump.ask(tree, running.child.pid, running.output)

    async def _see_to(self, action: LookAtJob | KillJob) -> None:
        """Of a job process that does not beat, or that is to end."""
        if isinstance(action, LookAtJob):
            found = await self._stalled_jobs.look(action.ref, action.pid)
            self.carry_out(self.pool.job_looked(action.ref, action.job, found, time.monotonic()))
        else:
            found = await self._stalled_jobs.kill(action.ref, action.pid)
            self.carry_out(self.pool.job_killed(action.ref, action.job, found, time.monotonic()))

    def _condemned(self, ref: Ref) -> bool:
        worker = self.pool.workers.get(ref)
        return worker is None or worker.phase is Phase.KILLING

    def _tell_stack(self, ref: Ref) -> None:
        """The stack, or that there was none: a stopped process cannot write one."""
        running, worker = self._running.get(ref), self.pool.workers.get(ref)
        if running is None or worker is None or not running.output.dumping:
            return
        running.drain_output()
        answered, stack = running.output.answered, running.output.end_stack()
        fields: dict[str, object] = {} if stack is None else {"stack": stack}
        if not answered:
            fields["detail"] = "no process of it wrote a stack: it is stopped, or does not serve SIGUSR2"
        self._tell(Change(log_events.WORKER_STACK, time.monotonic(), ref, running.child.pid, "warning", fields))

    # -- facts ---------------------------------------------------------------------------------------------------------

    def _beat(self, ref: Ref, line: bytes, now: float) -> None:
        try:
            beat = heartbeat.decode(line)
        except heartbeat.BadBeat as exc:
            self.carry_out(self.pool.beat_rejected(ref, str(exc), now))
            return
        beat = self.pool.names.fit(ref, beat)
        if beat.source == heartbeat.FROM_LOOP:
            self.processes.heard(ref, beat)
            self.on_beat(ref, beat, now)
            for change in oom_killer.jobs_killed(self.processes.oom, self.pool, ref, beat, now):
                self._tell(change)
        stopped = self._stalled_jobs.stopped(beat, self.pool.policy.limits.suspect_after) if beat.calls else frozenset()
        self.carry_out(self.pool.beat(ref, beat, now, stopped))

    def _beats_dropped(self, ref: Ref, count: int, now: float) -> None:
        self.carry_out(self.pool.beats_dropped(ref, count, now))

    def _exited(self, ref: Ref) -> None:
        running = self._running.get(ref)
        ended = running.child.reap() if running is not None else None
        if running is None or ended is None:
            return
        ended = self._with_cause(ref, running.child.pid, ended)
        self._tell_stack(ref)
        running.close()
        del self._running[ref]
        self.launcher.jobservers.left(ref)
        worker = self.pool.workers.get(ref)
        asked = worker is not None and worker.termed and ended.code == 0
        self._sweep(ref, LEFTOVER_GRACE if asked else 0.0)
        self.carry_out(self.pool.exited(ref, ended, time.monotonic()))

    def _with_cause(self, ref: Ref, pid: int, ended: Exit) -> Exit:
        """The exit, and for a SIGKILL that we did not send what the kernel says of it."""
        worker = self.pool.workers.get(ref)
        ours = worker is not None and worker.killed
        ended = replace(ended, shortage=self._pids_limit.hit(ref))
        return self.processes.cause(ref, pid, ended, unexplained=ended.signal == signal.SIGKILL and not ours)

    def _sweep(self, ref: Ref, grace: float) -> None:
        self.processes.ends.begin_end(ref)
        if not grace:
            self.processes.ends.kill_known(ref)
        self._background(self._end_tree(ref, grace))

    async def _end_tree(self, ref: Ref, grace: float) -> None:
        if self.recoveries.under_way:
            await asyncio.sleep(DISPATCHES_FIRST)
        await self.processes.end(ref, grace)
        self._records.remove(ref)
        worker_inbox_sockets.remove(self._runtime_dir, str(ref))
        self._check_ended()

    def _pids(self) -> set[int]:
        return {running.child.pid for running in self._running.values()}

    def _end_stopped_helpers(self, now: float) -> None:
        """A template or job server that was stopped: its end is answered by a new one."""
        patience = self.pool.policy.limits.suspect_after
        for pid, seconds in self._stopped_helpers.look(self.launcher.helpers(), now, patience):
            detail = "it is stopped (state T) and would start no process: it is killed, and a new one is built"
            fields = {"seconds": round(seconds, 3), "limit": patience, "detail": detail}
            self._tell(Change(log_events.TEMPLATE_STOPPED, now, None, pid, "warning", fields))
            kill_stopped(pid)

    def _background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        exc = task.exception() if not task.cancelled() else None
        if exc is not None:  # told at once, and not only when it is thrown away
            self._loop.call_exception_handler({"message": "background work failed", "exception": exc})
