"""Processes that stand still: jobs whose beats stopped, and templates or job forkservers that a signal stopped.

The pid of a job is only what a worker has told. A signal goes to nobody but a process that descends from that worker,
and to exactly that one: by a pidfd that was opened before the process was looked at.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from mindbot_supervisor.core.calls.call_liveness import Found
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring.process_table import Process
from mindbot_supervisor.processes.pipes.worker_pipes import RunningWorker
from mindbot_supervisor.processes.trees import stack_dump
from mindbot_supervisor.processes.trees.kill_process_tree import signal_one
from mindbot_supervisor.processes.trees.process_monitor import ProcessMonitor
from mindbot_worker.protocol.heartbeat import Beat

AT_ONCE = 8
"""Jobs of one worker that wait for their stacks to be taken, or whose state is read with one heartbeat, at the most: a
worker can name a thousand. The stacks of further ones are left out.
"""
FRESH = 0.25
"""Seconds for which a look at a worker's processes is good enough for the next job of it."""


class StalledJobs:
    """Job processes without beats. `is_being_killed` tells whether a worker is: then all its stacks are being taken."""

    def __init__(
        self, processes: ProcessMonitor, running: Mapping[Ref, RunningWorker], is_being_killed: Callable[[Ref], bool]
    ) -> None:
        self._processes, self._running, self._is_being_killed = processes, running, is_being_killed
        self._waiting: Counter[Ref] = Counter()
        self._looks: dict[Ref, tuple[float, asyncio.Task[list[Process]]]] = {}

    def stopped(self, beat: Beat, silent_for: float) -> frozenset[str]:
        """Of the jobs that were silent for so many seconds, those that the kernel has stopped."""
        silent = (call for call in beat.calls if call.pid is not None and (call.beat_age or 0.0) >= silent_for)
        few = islice(silent, AT_ONCE)
        return frozenset(call.job for call in few if call.pid is not None and is_stopped(call.pid))

    async def look(self, ref: Ref, pid: int) -> Found:
        """What this process of the worker does; with its stack, if it can write one."""
        proc = await self._own(ref, pid)
        return _stranger(pid, ref) if proc is None else await self._look(ref, proc)

    async def kill(self, ref: Ref, pid: int) -> Found:
        """As `look`, and then SIGKILL."""
        proc = await self._own(ref, pid)
        if proc is None:
            return _stranger(pid, ref)
        found = await self._look(ref, proc)
        signal_one(proc, signal.SIGKILL)
        return found

    async def _own(self, ref: Ref, pid: int) -> Process | None:
        """The process, if it is one of the worker's, and not the worker itself."""
        running = self._running.get(ref)
        if running is not None and running.child.pid == pid:
            return None
        return next((proc for proc in await self._members(ref) if proc.pid == pid), None)

    async def _members(self, ref: Ref) -> list[Process]:
        """The worker's processes; those who ask at the same time share one look at all of the host's."""
        now = time.monotonic()
        self._looks = {known: look for known, look in self._looks.items() if now - look[0] < FRESH}
        if ref not in self._looks:
            self._looks[ref] = now, asyncio.ensure_future(self._processes.members(ref))
        return await asyncio.shield(self._looks[ref][1])

    async def _look(self, ref: Ref, proc: Process) -> Found:
        if is_stopped(proc.pid):
            return Found(stopped=True, detail=f"process {proc.pid} is stopped (state T), so it cannot write its stack")
        stack, where = stack_dump.main_thread(await self._stack(ref, proc))
        if stack:
            return Found(stack=stack, where=where)
        return Found(detail=f"process {proc.pid} wrote no stack: it does not serve SIGUSR2, or too many are silent")

    async def _stack(self, ref: Ref, proc: Process) -> str:
        running = self._running.get(ref)
        if running is None or self._waiting[ref] >= AT_ONCE:
            return ""
        self._waiting[ref] += 1
        try:
            return await self._stack_with_lock(ref, proc, running)
        finally:
            self._waiting -= Counter({ref: 1})  # which leaves out those that have none

    async def _stack_with_lock(self, ref: Ref, proc: Process, running: RunningWorker) -> str:
        async with running.stack_lock:
            if self._is_being_killed(ref) or running.output.dumping:
                return ""
            running.output.begin_stack()
            await stack_dump.ask([proc], proc.pid, running.output)
            if self._is_being_killed(ref):
                return ""  # what came so far is the beginning of the worker's own stacks
            return running.output.end_stack() or ""


def is_stopped(pid: int) -> bool:
    """Whether the kernel says that the process is stopped by a signal; under a debugger it is not that."""
    import psutil  # loaded once the first workers run

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def _stranger(pid: int, ref: Ref) -> Found:
    return Found(belongs=False, detail=f"process {pid} is no job process of worker {ref}: it was left alone")


@dataclass(slots=True)
class StoppedHelpers:
    """Remembers since when each process was seen stopped. Times are of the monotonic clock."""

    _since: dict[int, float] = field(default_factory=dict)
    _looked_at: float = float("-inf")

    def look(self, pids: Iterable[int], now: float, patience: float) -> list[tuple[int, float]]:
        """Those that are stopped (state T) for `patience` seconds or longer, and for how long.

        What was stopped while this program did not run itself counts from now on.
        """
        if now - self._looked_at >= patience:
            self._since.clear()
        self._looked_at = now
        self._since = {pid: self._since.get(pid, now) for pid in pids if is_stopped(pid)}
        return [(pid, now - since) for pid, since in self._since.items() if now - since >= patience]


def kill_stopped(pid: int) -> None:
    """SIGKILL this process if it is still stopped: by a pidfd, so that it can hit no other."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if is_stopped(pid):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(pidfd)
