"""Starts a worker step by step, and ends it with an exit code and the reason in its last beat, the log and stderr."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

import uvloop

from mindbot_config.host import resource_shortage
from mindbot_config.settings import Settings
from mindbot_worker.logging import setup as output
from mindbot_worker.logging import stack_dump
from mindbot_worker.logging.json_lines import Lines, summarise
from mindbot_worker.logging.log_queue import LogQueue
from mindbot_worker.logging.nonblocking_output import guard
from mindbot_worker.protocol import heartbeat
from mindbot_worker.runtime import agent_loader, environment, shutdown
from mindbot_worker.runtime.call_records import CallRecords
from mindbot_worker.runtime.heartbeat import HeartbeatPipe, ThreadHeartbeat, WorkerStatus
from mindbot_worker.runtime.inbox import Inbox
from mindbot_worker.runtime.shutdown import EX_OK, ConfigFailure, ResourceShortage, StopRequest, WorkerFailure

if TYPE_CHECKING:
    from livekit.agents import AgentServer

FAILED = "worker.failed"

_LAST_BEAT_PATIENCE = 1.0
_LAST_LINES_PATIENCE = 1.0
_EXIT_LIMIT = 5.0
"""LiveKit leaves threads behind that no exit waits out; after so long the process ends without them."""

logger = logging.getLogger(__name__)


class Worker:
    """One worker process. LiveKit is imported only after the first beat, which is so sent at once."""

    def __init__(self, agent_reference: str | None) -> None:
        self._reference = agent_reference
        self._stop = StopRequest()
        self._status = WorkerStatus(CallRecords(time.monotonic()))
        self._heartbeat = HeartbeatPipe(environment.take_fd(os.environ, heartbeat.HEARTBEAT_FD))
        self._redact = output.redactor(os.environ)
        self._debug = False
        self._lines: Lines = output.lines(os.environ, self._redact, debug=False)
        self._log: LogQueue | None = None
        self._inbox: Inbox | None = None

    def run(self) -> int:
        """Run to the end and return the exit code. A failure is told in a beat, in the log and on stderr."""
        guard(self._redact)
        stack_dump.arm()
        self._stop.listen_early()
        try:
            shutdown.watch_leash(environment.take_fd(os.environ, heartbeat.LEASH_FD), self._stop.request)
            self._serve()
            code = EX_OK
        except WorkerFailure as failure:
            code = self._failed(failure)
        except Exception as exc:
            code = self._failed(_unexpected(exc))
        self._leave(code)
        return code

    def _serve(self) -> None:
        settings = environment.settings(os.environ)
        pulse = ThreadHeartbeat(self._heartbeat, self._status, settings.limits.beat_interval)
        pulse.start()
        self._debug = settings.log.level == "debug"
        self._lines = output.lines(os.environ, self._redact, debug=self._debug)
        self._log = output.start(settings.log.level, self._lines)
        server = agent_loader.prepared(self._reference or settings.pool.agent, settings)
        agent_loader.check_credentials(server, settings)
        self._inbox = Inbox(environment.runtime_dir(os.environ), os.environ.get(heartbeat.WORKER_NAME, ""))
        self._status.last_beat = self._inbox.job_beats.last
        self._run_loop(server, settings, self._inbox)

    def _run_loop(self, server: AgentServer, settings: Settings, inbox: Inbox) -> None:
        from mindbot_worker.runtime.agent_server import AgentServerRunner, apply_options

        capacity = apply_options(
            server, settings, reports_to=inbox.path, worker=os.environ.get(heartbeat.WORKER_NAME, "")
        )
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        self._stop.listen(loop)
        runner = AgentServerRunner(server, settings, self._status, self._heartbeat, capacity)
        try:
            loop.run_until_complete(runner.run(self._stop, inbox))
        finally:
            with contextlib.suppress(Exception):
                loop.run_until_complete(asyncio.wait_for(runner.close(), _EXIT_LIMIT))

    def _failed(self, failure: WorkerFailure) -> int:
        told = heartbeat.Failure(failure.code, self._redact(str(failure)))
        self._heartbeat.send_last(
            lambda seq: self._status.beat(seq, lag=0.0, failure=told), patience=_LAST_BEAT_PATIENCE
        )
        record = self._record(failure)
        if self._log is not None:
            self._log.emit(record)
        output.say_on_stderr(self._lines, record)
        return failure.code

    def _record(self, failure: WorkerFailure) -> logging.LogRecord:
        expected = isinstance(failure, ConfigFailure)
        level = logging.ERROR if expected else logging.CRITICAL
        record = logging.LogRecord("mindbot_worker", level, __file__, 0, "%s", (str(failure),), None)
        record.event, record.code = FAILED, failure.code
        if failure.__cause__ is not None and (self._debug or not expected):
            record.exc_info = (type(failure.__cause__), failure.__cause__, failure.__cause__.__traceback__)
        return record

    def _leave(self, code: int) -> None:
        if self._inbox is not None:
            self._inbox.unlink()
        if self._log is not None:
            self._log.drain(_LAST_LINES_PATIENCE)
        with contextlib.suppress(RuntimeError):  # no thread can be started: then it waits for those there are
            threading.Thread(target=_end_without_waiting, args=(code,), daemon=True).start()


def _unexpected(exc: Exception) -> WorkerFailure:
    short = resource_shortage.behind(exc)
    said = (
        f"unexpected error: {summarise(exc)}" if short is None else f"cannot go on: {resource_shortage.explain(short)}"
    )
    failure = WorkerFailure(said) if short is None else ResourceShortage(said)
    failure.__cause__ = exc
    return failure


def _end_without_waiting(code: int) -> None:
    time.sleep(_EXIT_LIMIT)
    os._exit(code)
