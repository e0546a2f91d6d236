"""Reports what happens in every AgentSession of a job, by wrapping `AgentSession.start` once in each job process."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from livekit.agents import AgentSession, APIError, get_job_context

from mindbot_worker.jobs import call_journal
from mindbot_worker.jobs.reporter import CallReporter, is_new, one_line
from mindbot_worker.providers.usage_meter import UsageMeter

JOB_ERROR = "job.error"

_KINDS = {"stt_error": "stt", "llm_error": "llm", "tts_error": "tts", "realtime_model_error": "realtime"}
SESSION = "session"
"""Kind of error: a session that closed because of one."""
TOO_MANY = 429

Observer = Callable[[AgentSession[Any]], None]

_ACTIVITY = (
    "user_input_transcribed",
    "conversation_item_added",
    "function_tools_executed",
    "overlapping_speech",
    "speech_created",
)

logger = logging.getLogger(__name__)

_reporters: dict[str, CallReporter] = {}
_observers: dict[str, list[Observer]] = {}
_latest: dict[str, AgentSession[Any]] = {}
_watched: WeakSet[AgentSession[Any]] = WeakSet()
_numbers = itertools.count()


def watch(reporter: CallReporter) -> None:
    """Report all sessions that the job of `reporter` starts from now on."""
    _reporters[reporter.job] = reporter
    _wrap_start()


def observe(job: str, observer: Observer) -> None:
    """Call `observer` with each session of this job before it starts."""
    _observers.setdefault(job, []).append(observer)
    _wrap_start()


def latest(job: str) -> AgentSession[Any] | None:
    """The session that this job started last."""
    return _latest.get(job)


def reporter_of(job: str) -> CallReporter | None:
    return _reporters.get(job)


def is_of_session(error: object) -> bool:
    """Whether an error came with an event of a session: those are counted already."""
    return getattr(error, "type", None) in _KINDS


def kind_of(error: object) -> str:
    return _KINDS.get(getattr(error, "type", ""), "other")


def _wrap_start() -> None:
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
    for each in (_reporters, _observers, _latest):
        each.pop(reporter.job, None)


def meter_of_call() -> UsageMeter:
    """The meter that counts what this job uses of its providers; one that nobody reads outside of a job."""
    context = get_job_context(required=False)
    reporter = reporter_of(context.job.id) if context is not None else None
    return reporter.usage if reporter is not None else UsageMeter()


def _attach(session: AgentSession[Any]) -> None:
    context = get_job_context(required=False)
    if context is None or session in _watched:
        return
    _watched.add(session)
    _latest[context.job.id] = session
    reporter = _reporters.get(context.job.id)
    if reporter is not None:
        _report(session, reporter)
    for observer in _observers.get(context.job.id, ()):
        observer(session)


def _report(session: AgentSession[Any], reporter: CallReporter) -> None:
    for event in _ACTIVITY:
        _on(session, event, lambda _: reporter.activity())
    for event in call_journal.ADDED:
        _on(session, event, lambda _: call_journal.write_history(session, reporter.job))
    _on(session, "user_state_changed", lambda event: _user_state(reporter, event))
    _on(session, "agent_state_changed", lambda event: _agent_state(session, reporter, str(event.new_state)))
    _on(session, "conversation_item_added", lambda event: reporter.turns.item_added(event.item))
    _on(session, "speech_created", lambda event: reporter.turns.speech_created(event.speech_handle))
    number = next(_numbers)
    _on(session, "session_usage_updated", lambda event: reporter.usage.session(number, event.usage.model_usage))
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


def _agent_state(session: AgentSession[Any], reporter: CallReporter, state: str) -> None:
    reporter.state(state)
    if state == "speaking":
        reporter.turns.speaking(session.current_speech)


def _error(reporter: CallReporter, event: Any) -> None:
    error = event.error
    kind = kind_of(error)
    cause = getattr(error, "error", error)
    is_new(cause)
    status = getattr(cause, "status_code", None)
    reporter.rate_limited += status == TOO_MANY
    recoverable = bool(getattr(error, "recoverable", False))
    reporter.error(kind, recoverable=recoverable, of_provider=isinstance(cause, APIError))
    logger.log(
        logging.INFO if recoverable else logging.WARNING,
        "a provider failed",
        extra={
            "event": JOB_ERROR,
            "kind": kind,
            "recoverable": recoverable,
            "source": getattr(error, "label", type(event.source).__name__),
            **_of_provider(event.source),
            **({"status": status} if isinstance(status, int) and status > 0 else {}),
            "reason": one_line(cause),
        },
    )


def _of_provider(source: object) -> dict[str, str]:
    """The provider and model of what failed, as far as LiveKit knows them."""
    known = {name: getattr(source, name, "") for name in ("provider", "model")}
    return {name: value for name, value in known.items() if isinstance(value, str) and value not in ("", "unknown")}


def _close(reporter: CallReporter, event: Any) -> None:
    if event.reason == "error":
        of_provider = isinstance(getattr(event.error, "error", None), APIError)
        # the call is not over for that: its caller is still there
        reporter.error(SESSION, recoverable=False, of_provider=of_provider)
    else:
        reporter.ending()
