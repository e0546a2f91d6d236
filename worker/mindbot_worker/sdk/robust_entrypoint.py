"""`robust_entrypoint`, for agents: retries a failed connection, and ends a call that failed with an apology.

from mindbot_worker import connect_with_retry, robust_entrypoint

@server.rtc_session()
@robust_entrypoint(apology="Sorry, something broke. Please call again.", on_failure="close")
async def call(context: JobContext) -> None:
    await connect_with_retry(context)
    ...
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, overload

from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext

from mindbot_worker.jobs import session_metrics
from mindbot_worker.jobs.entrypoint import JOB
from mindbot_worker.jobs.notify_error import CONNECTION, CallEnded, is_connection_error
from mindbot_worker.sdk.call_failure import FailureHandling, OnFailure, fail, start_failing
from mindbot_worker.sdk.connect_with_retry import ConnectFailed, ConnectionRetries

Entry = Callable[[JobContext], Awaitable[None]]


@overload
def robust_entrypoint(entrypoint: Entry, /) -> Entry: ...
@overload
def robust_entrypoint(
    *, retries: int = 3, apology: str | None = None, on_failure: OnFailure | None = None
) -> Callable[[Entry], Entry]: ...
def robust_entrypoint(
    entrypoint: Entry | None = None,
    /,
    *,
    retries: int = 3,
    apology: str | None = None,
    on_failure: OnFailure | None = None,
) -> Any:
    """Wrap an entrypoint. After an error of the connection, before a session was started, it is called again, `retries`
    times, after 1, 2, 4 … seconds. Any other error, and a session that LiveKit closed because of one: it is told once
    (`notify_error`), the caller hears `apology`, and the call ends as `on_failure` says. Both are the settings' unless
    given here (`voice.apology`, `voice.on_failure`).
    """
    handling = FailureHandling(apology, on_failure)
    if entrypoint is None:
        return functools.partial(_robust, retries=retries, handling=handling)
    return _robust(entrypoint, retries=retries, handling=handling)


def _robust(entrypoint: Entry, *, retries: int, handling: FailureHandling) -> Entry:
    @functools.wraps(entrypoint)
    async def robust(context: JobContext) -> None:
        session_metrics.observe(context.job.id, lambda session: _watch(context, session, handling))
        try:
            await _run_with_retries(entrypoint, context, retries)
        except CallEnded:
            return
        except Exception as exc:
            await _end(context, exc, handling)

    return robust


async def _run_with_retries(entrypoint: Entry, context: JobContext, retries: int) -> None:
    patience = ConnectionRetries(context)
    for attempt in range(1, retries + 2):
        try:
            await entrypoint(context)
            return
        except Exception as exc:
            if attempt > retries or not _may_retry(context, exc):
                raise
            failed = exc
        await patience.after(failed, attempt)


def _may_retry(context: JobContext, error: Exception) -> bool:
    """Whether to run the entrypoint again: after an error of the connection, if no session was started yet."""
    if isinstance(error, ConnectFailed) or not is_connection_error(error):
        return False
    return session_metrics.latest(context.job.id) is None


async def _end(context: JobContext, error: Exception, handling: FailureHandling) -> None:
    kind = CONNECTION if is_connection_error(error) else JOB
    reporter = session_metrics.reporter_of(context.job.id)
    if reporter is not None:
        reporter.failed()
    await fail(context, error, handling, kind=kind)


def _watch(context: JobContext, session: AgentSession[Any], handling: FailureHandling) -> None:
    def on_close(event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            start_failing(context, event.error, handling, session)

    session.on("close", on_close)
