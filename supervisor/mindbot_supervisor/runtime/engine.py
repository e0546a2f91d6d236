"""Drives the pool: brings it facts, carries out its actions, passes on its changes. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from mindbot_supervisor.core import events
from mindbot_supervisor.core.actions import Action, DumpStacks, GiveUp, Kill, Spawn, Terminate
from mindbot_supervisor.core.model import Change, Ref
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_worker import wire

from . import child, proctable, sweep
from .child import Child
from .family import Family
from .lines import Lines
from .output import Output
from .sampler import Look, Sampler

READ_BYTES = 64 * 1024
"""Read from one pipe before the next one has its turn."""
PAUSE_BYTES, PAUSE = 1024 * 1024, 0.01
"""After so many bytes in a row a pipe rests for so many seconds: a flood may slow its own worker, never the daemon."""
LEFTOVER_GRACE = 1.0
"""Seconds that helpers of a worker which ended as asked have to follow it (LiveKit's end within 0.5 s)."""

WriteOutput = Callable[[Ref, int, str, str, Mapping[str, object]], None]


@dataclass(slots=True)
class Launch:
    """What every worker is started with: the command line, the environment, the runtime directory."""

    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    runtime_dir: str

    def environ_of(self, ref: Ref) -> dict[str, str]:
        own = {wire.WORKER_NAME: str(ref), wire.SLOT: str(ref.slot), wire.RUNTIME_DIR: self.runtime_dir}
        return {**self.environ, **own}


@dataclass(slots=True)
class _Running:
    """A live worker's descriptors and readers."""

    child: Child
    beats: Lines
    output: Output
    flow: dict[int, int] = field(default_factory=dict)


class Engine:
    """Owns the children of one pool. All methods belong to the loop's thread."""

    def __init__(
        self, pool: Pool, launch: Launch, *, tell: Callable[[Change], None], write_output: WriteOutput
    ) -> None:
        self.pool, self.launch = pool, launch
        self._tell, self._write_output = tell, write_output
        self._loop = asyncio.get_running_loop()
        self._running: dict[Ref, _Running] = {}
        self._lock = threading.Lock()
        self._family = Family(launch.runtime_dir)
        limits, soft = pool.policy.limits, pool.policy.memory_soft_mb
        self._sampler = Sampler(self._family, self._lock, limits.check_interval, soft, self._deliver)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: set[Ref] = set()
        self.other_children: set[int] = set()
        """Pids of children that are no workers; somebody else reaps them."""
        self._timer: asyncio.TimerHandle | None = None
        self.gave_up: GiveUp | None = None
        self.ended = asyncio.Event()
        """Set when the pool was told to stop and nothing of it is left, or when it gave up."""
        self.sampling_cost = 0.0

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._sampler.start()
        self._tick()

    def stop(self) -> None:
        self._do(self.pool.stop(time.monotonic()))

    def stop_now(self) -> None:
        self._do(self.pool.stop_now(time.monotonic()))

    async def close(self) -> None:
        """After `ended`: end the sampler and wait for the last sweeps."""
        if self._timer is not None:
            self._timer.cancel()
        self._sampler.stop()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        sweep.reap_orphans(proctable.read_all(), self.other_children)

    def carry_out(self, effects: Effects) -> None:
        """Do and tell what the pool has decided."""
        self._do(effects)

    def _tick(self) -> None:
        now = time.monotonic()
        self._do(self.pool.tick(now))
        due = self.pool.wake_at()
        wait = self.pool.policy.limits.check_interval
        if due is not None:
            wait = min(wait, max(due - now, 0.01))
        self._timer = self._loop.call_later(wait, self._tick)

    # -- actions -------------------------------------------------------------------------------------------------------

    def _do(self, effects: Effects) -> None:
        for change in effects.changes:
            self._tell(change)
        for action in effects.actions:
            self._act(action)
        self._check_ended()

    def _check_ended(self) -> None:
        if self.pool.stopping and not self.pool.workers and not self._running and not self._sweeping:
            self.ended.set()

    def _act(self, action: Action) -> None:
        match action:
            case Spawn(ref=ref):
                self._spawn(ref)
            case Terminate(ref=ref):
                self._signal(ref, signal.SIGTERM)
            case DumpStacks(ref=ref):
                if ref in self._running:
                    self._running[ref].output.begin_stack()
                    self._background(self._dump(ref))
            case Kill(ref=ref):
                self._tell_stack(ref)
                self._signal(ref, signal.SIGKILL)
                self._background(self._kill(ref))
            case GiveUp():
                self.gave_up = action
                self.stop_now()

    def _signal(self, ref: Ref, number: int) -> None:
        running = self._running.get(ref)
        if running is not None:
            running.child.signal(number)

    def _spawn(self, ref: Ref) -> None:
        roll = random.random()  # noqa: S311
        try:
            running = self._started(ref, child.spawn(self.launch.command, self.launch.environ_of(ref)))
        except OSError as exc:
            why = f"cannot start {self.launch.command[0]}: {exc.strerror}"
            self._do(self.pool.spawn_failed(ref, why, time.monotonic(), roll))
            return
        self._do(self.pool.spawned(ref, running.child.pid, time.monotonic(), roll))

    def _started(self, ref: Ref, started: Child) -> _Running:
        def write(level: str, event: str, fields: Mapping[str, object]) -> None:
            self._write_output(ref, started.pid, level, event, fields)

        running = _Running(started, Lines(wire.LINE_MAX), Output(write))
        self._running[ref] = running
        with self._lock:
            self._family.roots[started.pid] = ref
        self._loop.add_reader(started.beats, self._read, ref, started.beats)
        self._loop.add_reader(started.output, self._read, ref, started.output)
        self._loop.add_reader(started.pidfd, self._exited, ref)
        return running

    async def _dump(self, ref: Ref) -> None:
        tree = await asyncio.to_thread(sweep.members, self._family, self._lock, ref)
        await asyncio.to_thread(sweep.ask_for_stacks, tree)

    async def _kill(self, ref: Ref) -> None:
        await asyncio.to_thread(sweep.kill, self._family, self._lock, ref)

    def _tell_stack(self, ref: Ref) -> None:
        """The stack, or that there was none: a stopped process cannot write one."""
        running, worker = self._running.get(ref), self.pool.workers.get(ref)
        if running is None or worker is None or not running.output.dumping:
            return
        self._drain(ref, running, running.child.output)
        stack = running.output.end_stack()
        fields: dict[str, object] = {"stack": stack}
        if stack is None:
            fields = {"detail": "no process of it wrote a stack: it is stopped, or does not serve SIGUSR2"}
        self._tell(Change(events.WORKER_STACK, time.monotonic(), ref, running.child.pid, "warning", fields))

    # -- facts ---------------------------------------------------------------------------------------------------------

    def _read(self, ref: Ref, fd: int) -> None:
        running = self._running.get(ref)
        if running is None:
            return
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            running.flow[fd] = 0
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(fd)
            return
        self._take(ref, running, fd, data)
        running.flow[fd] = running.flow.get(fd, 0) + len(data) if len(data) == READ_BYTES else 0
        if running.flow[fd] >= PAUSE_BYTES:
            running.flow[fd] = 0
            self._loop.remove_reader(fd)
            self._loop.call_later(PAUSE, self._resume, ref, fd)

    def _resume(self, ref: Ref, fd: int) -> None:
        running = self._running.get(ref)
        if running is not None and fd in (running.child.beats, running.child.output):
            self._loop.add_reader(fd, self._read, ref, fd)

    def _take(self, ref: Ref, running: _Running, fd: int, data: bytes) -> None:
        now = time.monotonic()
        if fd == running.child.output:
            running.output.feed(data, now)
            return
        for line in running.beats.feed(data):
            self._beat(ref, line, now)

    def _beat(self, ref: Ref, line: bytes, now: float) -> None:
        try:
            beat = wire.decode(line)
        except wire.BadBeat as exc:
            self._do(self.pool.beat_rejected(ref, str(exc), now))
            return
        if beat.source == wire.FROM_LOOP:
            self._family.told[ref] = beat.pids
        self._do(self.pool.beat(ref, beat, now))

    def _exited(self, ref: Ref) -> None:
        running = self._running.get(ref)
        ended = running.child.reap() if running is not None else None
        if running is None or ended is None:
            return
        self._tell_stack(ref)
        for fd in (running.child.beats, running.child.output):
            self._drain(ref, running, fd)
        running.output.close(time.monotonic())
        for fd in (running.child.beats, running.child.output, running.child.pidfd):
            self._loop.remove_reader(fd)
        running.child.close()
        del self._running[ref]
        self._sweeping.add(ref)
        worker = self.pool.workers.get(ref)
        asked = worker is not None and worker.termed and ended.code == 0
        self._background(self._sweep(ref, LEFTOVER_GRACE if asked else 0.0))
        self._do(self.pool.exited(ref, ended, time.monotonic()))

    def _drain(self, ref: Ref, running: _Running, fd: int) -> None:
        """Take what is in a pipe now; others may still hold its other end."""
        for _ in range(PAUSE_BYTES // READ_BYTES):
            try:
                data = os.read(fd, READ_BYTES)
            except OSError:
                return
            if not data:
                return
            self._take(ref, running, fd, data)

    async def _sweep(self, ref: Ref, grace: float) -> None:
        """See that nothing of a dead worker's tree stays behind."""
        deadline = time.monotonic() + grace
        tree = await asyncio.to_thread(sweep.members, self._family, self._lock, ref)
        while tree and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            tree = await asyncio.to_thread(sweep.members, self._family, self._lock, ref)
        await asyncio.to_thread(sweep.kill, self._family, self._lock, ref)
        with self._lock:
            self._family.forget([ref])
        self._sweeping.discard(ref)
        self._check_ended()

    def _deliver(self, look: Look) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon is ending
            self._loop.call_soon_threadsafe(self._looked, look)

    def _looked(self, look: Look) -> None:
        now = time.monotonic()
        self.sampling_cost = look.cost
        for ref, sample in look.samples.items():
            self.pool.sample(ref, sample, now)
        known = {running.child.pid for running in self._running.values()} | self.other_children
        sweep.reap_orphans(look.table, known)

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
