"""Watches every AgentSession of a job, whoever made it: `AgentSession.start` is wrapped once in each job process."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from livekit.agents import AgentSession, get_job_context

from mindbot_worker.jobs import keeping
from mindbot_worker.jobs.reporter import CallReporter

JOB_ERROR = "job.error"

_KINDS = {"stt_error": "stt", "llm_error": "llm", "tts_error": "tts", "realtime_model_error": "realtime"}
SESSION = "session"
"""Kind of error: a session that closed because of one."""

_ACTIVITY = (
    "user_input_transcribed",
    "conversation_item_added",
    "function_tools_executed",
    "overlapping_speech",
    "speech_created",
)

logger = logging.getLogger(__name__)

_reporters: dict[str, CallReporter] = {}
_watched: WeakSet[AgentSession[Any]] = WeakSet()


def watch(reporter: CallReporter) -> None:
    """From now on sessions started by the job of `reporter` report through it."""
    _reporters[reporter.job] = reporter
    start = AgentSession.start
    if getattr(start, "__mindbot__", False):
        return

    @functools.wraps(start)
    async def watched_start(self: AgentSession[Any], *args: Any, **kwargs: Any) -> Any:
        _attach(self)
        return await start(self, *args, **kwargs)

    watched_start.__mindbot__ = True  # type: ignore[attr-defined]
    AgentSession.start = watched_start  # type: ignore[method-assign]


def forget(reporter: CallReporter) -> None:
    _reporters.pop(reporter.job, None)


def _attach(session: AgentSession[Any]) -> None:
    context = get_job_context(required=False)
    reporter = _reporters.get(context.job.id) if context is not None else None
    if reporter is None or session in _watched:
        return
    _watched.add(session)
    for event in _ACTIVITY:
        _on(session, event, lambda _: reporter.activity())
    for event in keeping.ADDED:
        _on(session, event, lambda _: keeping.kept(session, reporter.job))
    _on(session, "user_state_changed", lambda event: _user_state(reporter, event))
    _on(session, "agent_state_changed", lambda event: reporter.state(str(event.new_state)))
    _on(session, "error", lambda event: _error(reporter, event))
    _on(session, "close", lambda event: _close(reporter, event))


def _on(session: AgentSession[Any], event: Any, react: Callable[[Any], None]) -> None:
    def listener(news: Any) -> None:
        # LiveKit's emitter lets a TypeError through to whoever emitted: an observer must not disturb a call
        try:
            react(news)
        except Exception:
            logger.debug("cannot report a session event", exc_info=True)

    session.on(event, listener)


def _user_state(reporter: CallReporter, event: Any) -> None:
    # "away" is LiveKit's word for a caller who has been silent: the opposite of activity
    if event.new_state != "away":
        reporter.activity()


def _error(reporter: CallReporter, event: Any) -> None:
    error = event.error
    kind = _KINDS.get(getattr(error, "type", ""), "other")
    recoverable = bool(getattr(error, "recoverable", False))
    reporter.error(kind, recoverable=recoverable)
    logger.log(
        logging.INFO if recoverable else logging.WARNING,
        "a provider failed",
        extra={
            "event": JOB_ERROR,
            "kind": kind,
            "recoverable": recoverable,
            "source": getattr(error, "label", type(event.source).__name__),
            "reason": _one_line(getattr(error, "error", error)),
        },
    )


def _close(reporter: CallReporter, event: Any) -> None:
    if event.reason == "error":
        reporter.error(SESSION, recoverable=False)
    reporter.ending()


def _one_line(error: object) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]
