"""Configures a LiveKit AgentServer for a supervised worker, and runs it from its start to the end of its last call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from livekit.agents import AgentServer, __version__

from mindbot_config.host import resource_limits
from mindbot_config.settings import Settings
from mindbot_worker.jobs.disconnects import Tolerance
from mindbot_worker.jobs.entrypoint import Entrypoint, Setup
from mindbot_worker.jobs.process_setup import WorkerContext
from mindbot_worker.livekit_adapter import internals, job_forkserver
from mindbot_worker.livekit_adapter.internals import Attribute
from mindbot_worker.logging.json_lines import summarise
from mindbot_worker.protocol import heartbeat as wire
from mindbot_worker.runtime import memory_report
from mindbot_worker.runtime.capacity import Capacity
from mindbot_worker.runtime.heartbeat import HeartbeatPipe, LoopHeartbeat, WorkerStatus
from mindbot_worker.runtime.inbox import Inbox
from mindbot_worker.runtime.job_processes import JobProcessWatch
from mindbot_worker.runtime.registration import Registration
from mindbot_worker.runtime.shutdown import ConfigFailure, StopRequest, Unreachable, WorkerFailure
from mindbot_worker.runtime.synthetic_calls import SyntheticCalls

DRAINING = "serving.draining"

_CLOSE_LIMIT = 400.0
"""LiveKit's own limits for closing a call add up to 385 s; after that something hangs."""
_UNSTARTED_LIMIT = 5.0

logger = logging.getLogger(__name__)


RETRY_WITHOUT_END = 10**9
"""An outage of LiveKit never ends a worker; the wait between two attempts stays at 10 s at most."""
_INITIALIZE_MIN = 60.0
"""A loaded host takes longer than LiveKit's 10 s to start a job process, and a timeout only starts the next."""
_PRELOADED = ["mindbot_worker.jobs.preload"]


def apply_options(server: AgentServer, settings: Settings, *, reports_to: Path, worker: str) -> Capacity:
    """Set the options that a supervised worker needs, and put our functions around the user's own."""
    _own_ports(server, worker)
    internals.put(server, Attribute.MAX_RETRY, RETRY_WITHOUT_END)
    wait = internals.get(server, Attribute.INITIALIZE_PROCESS_TIMEOUT, 0.0)
    internals.put(server, Attribute.INITIALIZE_PROCESS_TIMEOUT, max(wait, _INITIALIZE_MIN))
    if not internals.has_own_idle_processes(server):
        internals.put(
            server, Attribute.NUM_IDLE_PROCESSES, idle_processes(resource_limits.cpus().whole, settings.pool.workers)
        )
    if settings.pool.agent_name and not internals.get(server, Attribute.AGENT_NAME):
        internals.put(server, Attribute.AGENT_NAME, settings.pool.agent_name)
    internals.put(
        server, Attribute.PRELOAD_MODULES, [*_PRELOADED, *(internals.get(server, Attribute.PRELOAD_MODULES) or ())]
    )
    if not settings.worker.registered:
        internals.send_nothing(server)
    capacity = Capacity(server, settings.pool.max_calls)
    capacity.install()
    _wrap_job_side(server, worker, str(reports_to), settings)
    return capacity


def idle_processes(cores: int, workers: int) -> int:
    """Warm job processes per worker: one for each core that may be used, shared among the workers."""
    return math.ceil(cores / workers)


def _own_ports(server: AgentServer, worker: str) -> None:
    """Several workers share this host: fixed ports would let only the first of them start."""
    internals.put(server, Attribute.PORT, 0)
    internals.put(server, Attribute.HOST, "127.0.0.1")
    if internals.get(server, Attribute.PROMETHEUS_PORT):
        internals.put(server, Attribute.PROMETHEUS_PORT, 0)
    directory = internals.get(server, Attribute.PROMETHEUS_DIRECTORY) or os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory:
        # a worker deletes every file in this directory when it starts
        internals.put(server, Attribute.PROMETHEUS_DIRECTORY, str(Path(directory) / (worker or str(os.getpid()))))


def _wrap_job_side(server: AgentServer, worker: str, reports_to: str, settings: Settings) -> None:
    entrypoint = internals.get(server, Attribute.ENTRYPOINT)
    tolerance = Tolerance(settings.limits.max_disconnects, settings.limits.disconnect_window)
    wrapped = Entrypoint(entrypoint, reports_to, settings.recovery.enabled, tolerance, settings.limits.beat_interval)
    internals.put(server, Attribute.ENTRYPOINT, wrapped)
    server.setup_fnc = Setup(
        server.setup_fnc, WorkerContext(worker) if job_forkserver.is_shared() else None, reports_to
    )


async def drain(server: AgentServer, limit: float) -> None:
    """Take no new calls and wait for those there are, `limit` seconds at most (0: not at all); then close."""
    if limit:  # LiveKit would read 0 as "without a limit"
        try:
            await server.drain(timeout=limit)  # type: ignore[arg-type]
        except TimeoutError:
            calls = len(internals.active_jobs(server))
            logger.warning("the drain deadline has passed", extra={"event": DRAINING, "calls": calls, "limit": limit})
    try:
        await asyncio.wait_for(server.aclose(), _CLOSE_LIMIT)
    except TimeoutError:
        logger.error("the calls could not be closed in time", extra={"event": DRAINING, "limit": _CLOSE_LIMIT})


async def cancel_start(server: AgentServer, serving: asyncio.Task[Any]) -> None:
    """End a server that is still starting: it has no calls, and LiveKit's drain() would wait for its start."""
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await serving
    with contextlib.suppress(Exception):
        await asyncio.wait_for(internals.close_pool(server), _UNSTARTED_LIMIT)


ENDED, VERSION = "serving.ended", "serving.version"


class AgentServerRunner:
    """Runs one server with its heartbeat. `run` returns when the worker was asked to stop and has drained."""

    def __init__(
        self,
        server: AgentServer,
        settings: Settings,
        status: WorkerStatus,
        heartbeat: HeartbeatPipe,
        capacity: Capacity,
    ) -> None:
        self._server, self._settings, self._status, self._capacity = server, settings, status, capacity
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inbox: Inbox | None = None
        self._heartbeat_loop = LoopHeartbeat(heartbeat, status, settings.limits.beat_interval, self._refresh)
        self._registration = Registration(
            server, status, wanted=settings.worker.registered, changed=self._heartbeat_loop.beat_soon
        )

    async def run(self, stop: StopRequest, inbox: Inbox) -> None:
        """Run until asked to stop. Raises WorkerFailure if the server cannot start or ends by itself."""
        _compare_versions()
        garbage = memory_report.GarbageCollection()
        garbage.freeze_imported()
        self._start(self._heartbeat_loop.run(), "heartbeat")
        self._registration.observe()
        serving = self._start(self._server.run(unregistered=not self._settings.worker.registered), "serve")
        # One turn of the loop: the pool then exists, and has not started a process yet.
        await asyncio.sleep(0)
        pool = JobProcessWatch(self._server, self._status.calls, inbox, self._heartbeat_loop.beat_soon, garbage)
        pool.install()
        inbox.listen(asyncio.get_running_loop(), pool.on_report, pool.on_warm_request)
        self._inbox = inbox
        if interval := self._settings.worker.memory_interval:
            self._start(memory_report.report(interval), "memory")
        if interval := self._settings.worker.synthetic_interval:
            self._start(self._call_when_ready(interval), "synthetic")
        stopping = self._start(stop.wait(), "stop")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            raise self._failure(serving)
        await self._end(serving, stop.reason)

    def _start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine, name=f"mindbot-{name}")
        self._tasks.add(task)
        return task

    def _refresh(self) -> None:
        """Read from the server, before each beat, what it does not report by events."""
        if self._inbox is not None:
            self._inbox.restore_name()
        self._status.load = self._capacity.share_taken()
        self._status.pids = internals.process_ids(self._server)
        self._registration.refresh()

    async def _call_when_ready(self, interval: float) -> None:
        await self._registration.ready.wait()
        await SyntheticCalls(self._server, self._capacity, interval).run()

    async def _end(self, serving: asyncio.Task[Any], reason: str) -> None:
        self._status.state = wire.DRAINING
        self._heartbeat_loop.beat_soon()
        calls = len(internals.active_jobs(self._server))
        logger.info("no new calls are taken", extra={"event": DRAINING, "reason": reason, "calls": calls})
        if self._registration.up:
            await drain(self._server, self._settings.pool.drain_timeout)
        else:
            await cancel_start(self._server, serving)
        self._heartbeat_loop.beat()
        logger.info("the worker has ended", extra={"event": ENDED})

    def _failure(self, serving: asyncio.Task[Any]) -> WorkerFailure:
        exc = serving.exception()
        if internals.connection_failed(self._server):
            return Unreachable(self._status.problem or "cannot reach livekit")
        if exc is None:
            return WorkerFailure("the agent server ended by itself")
        kind = ConfigFailure if isinstance(exc, ValueError) and not self._registration.up else WorkerFailure
        failure = kind(f"the agent server failed: {summarise(exc)}")
        failure.__cause__ = exc
        return failure

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _compare_versions() -> None:
    if __version__ != internals.READ_FROM:
        said = f"livekit-agents {__version__} is not {internals.READ_FROM}, which this worker was made for"
        logger.warning(said, extra={"event": VERSION})
