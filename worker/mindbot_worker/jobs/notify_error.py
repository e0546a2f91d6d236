"""Reports that an agent failed: in the log, by which the supervisor notifies people, and in the heartbeat.

It also says which exceptions are errors of the connection, and which one means that the call is over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import JobContext, get_job_context

from mindbot_worker.jobs import session_metrics
from mindbot_worker.jobs.reporter import is_new, one_line

CONNECTION = "connection"
"""Kind of error: no connection, for good."""
CONNECTION_ERRORS = (rtc.ConnectError, ConnectionError, TimeoutError, aiohttp.ClientConnectionError)
AGENT_ERROR = "agent.error"
AGENT = "agent"
"""Kind of error: one that the agent's own code told."""

logger = logging.getLogger(__name__)


class CallEnded(Exception):
    """The call is over: the caller has left, or the job was told to end. It is no failure."""


def is_connection_error(error: BaseException) -> bool:
    return isinstance(error, CONNECTION_ERRORS)


def notify_error(error: object, *, context: JobContext | None = None, kind: str = "") -> str:
    """Report an exception, or the error of a session's `error` or `close` event; returns its kind. Never raises.

    An error that is known already, because it was told before or the session's own, is not counted again. `context` is
    that of the current job unless given. Without a `kind` it is "connection", the provider's ("llm", "stt", "tts",
    "realtime"), or "agent".
    """
    return tell(error, context=context, kind=kind)


def tell(
    error: object,
    *,
    context: JobContext | None = None,
    kind: str = "",
    fatal: bool = False,
    more: Mapping[str, Any] | None = None,
) -> str:
    """As `notify_error`, for errors that end a call (`fatal`) or have more fields for the log."""
    context = context or get_job_context(required=False)
    cause = getattr(error, "error", None) or error
    kind = kind or kind_of(error)
    where = {} if context is None else {"room": context.job.room.name, "job": context.job.id}
    said = {"kind": kind, "exception": type(cause).__name__, "reason": one_line(cause)}
    logger.error("the agent failed", extra={"event": AGENT_ERROR, **said, **where, **(more or {})})
    reporter = session_metrics.reporter_of(context.job.id) if context is not None else None
    if reporter is not None and not session_metrics.is_of_session(error) and is_new(cause):
        reporter.error(kind, recoverable=not fatal)
    return kind


def kind_of(error: object) -> str:
    if session_metrics.is_of_session(error):
        return session_metrics.kind_of(error)
    return CONNECTION if isinstance(error, BaseException) and is_connection_error(error) else AGENT
