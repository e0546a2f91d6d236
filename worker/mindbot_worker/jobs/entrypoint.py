"""Wraps the agent's setup function and entrypoint in job processes. Both wrappers are sent there by pickle."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import JobContext, JobExecutorType, JobProcess

from mindbot_worker.jobs import call_journal, function_timings, job_beat, room_watch, session_metrics, takeover_wait
from mindbot_worker.jobs.disconnects import Disconnects, Tolerance
from mindbot_worker.jobs.notify_error import CallEnded
from mindbot_worker.jobs.process_setup import WorkerContext, ignore_worker_signals
from mindbot_worker.jobs.reporter import CallReporter, Outbox, is_new
from mindbot_worker.jobs.room_watch import CallerPresence
from mindbot_worker.livekit_adapter import loop_monitor, native_logs
from mindbot_worker.logging import setup as output
from mindbot_worker.logging.nonblocking_output import guard

JOB = "job"
"""Kind of error: the agent's entrypoint raised."""

SYNTHETIC = "synthetic-"
"""How the rooms of synthetic calls begin."""
SYNTHETIC_LIMIT = 30.0
"""A synthetic call that nobody ended is over after so many seconds."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Prepares a job process before it takes a call, and then runs the user's own setup function."""

    inner: Callable[[JobProcess], Any] | None
    home: WorkerContext | None = None
    """Where the job process belongs, if it is forked from a server that all workers share."""
    reports_to: str = ""

    def __call__(self, process: JobProcess) -> Any:
        if process.executor_type is JobExecutorType.PROCESS:
            ignore_worker_signals()
            guard(output.redactor(os.environ))
            native_logs.leave_to_library()
            if self.reports_to:
                job_beat.introduce(self.reports_to)
        return self.inner(process) if self.inner is not None else None


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """Runs the user's entrypoint and tells the worker how the call goes."""

    inner: Callable[[JobContext], Awaitable[None]]
    reports_to: str
    keeps: bool = False
    """Whether what is said is kept while the call lives, so that another agent can continue it."""
    tolerance: Tolerance = field(default_factory=Tolerance)
    beat_interval: float = 1.0
    """Seconds between two stamps of the job's own loop."""

    async def __call__(self, context: JobContext) -> None:
        if context.proc.executor_type is JobExecutorType.PROCESS:
            job_beat.begin(self.reports_to, self.beat_interval)
        output.start_in_job(context.job.room.name, context.job.id)
        await loop_monitor.begin()
        reporter = CallReporter(context.job.id, Outbox(self.reports_to))
        session_metrics.watch(reporter)
        connection = Disconnects(context.room, reporter, self.tolerance)
        people = room_watch.watch(context.room, reporter, connection)
        context.add_shutdown_callback(_ending(reporter, connection, people))
        reporter.send()
        if not await takeover_wait.has_the_call(context):
            return
        if self.keeps:
            call_journal.begin(context)
        try:
            await self.inner(context)
        except asyncio.CancelledError:
            raise
        except CallEnded:
            return  # nothing went wrong: there was nobody to talk to any more
        except Exception as exc:
            # LiveKit ends such a job with exit code 0 and reports a success
            reporter.failed(JOB if is_new(exc) else "")
            raise
        _limit_synthetic(context)


def _ending(reporter: CallReporter, connection: Disconnects, people: CallerPresence) -> Callable[[], Any]:
    async def report_the_end() -> None:
        reporter.ending()
        connection.stop()
        people.stop()
        session_metrics.forget(reporter)
        call_journal.end(reporter.job)
        function_timings.log_summary()

    return report_the_end


def _limit_synthetic(context: JobContext) -> None:
    """A simulated job does not end with its entrypoint, and nobody hangs up in a room that does not exist."""
    if context.is_fake_job() and context.job.room.name.startswith(SYNTHETIC):
        asyncio.get_running_loop().call_later(SYNTHETIC_LIMIT, context.shutdown, "the synthetic call is over")
