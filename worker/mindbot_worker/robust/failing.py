"""The end of a call that cannot go on: it is told, the caller hears an apology, and the room does not stay silent."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import Any, Literal

from livekit.agents import AgentSession, JobContext

from mindbot_config.load import from_environ
from mindbot_worker.jobs import sessions
from mindbot_worker.robust import handover
from mindbot_worker.robust.apology import apologise
from mindbot_worker.robust.notifying import tell

OnFailure = Literal["close", "leave", "handover"]

_DELETED_WITHIN = 5.0
_VOICE = "tts"

_begun: set[str] = set()
_tasks: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Terms:
    """How a call ends that cannot go on. What is None is as the settings say (`voice.apology`, `voice.on_failure`)."""

    apology: str | None = None
    on_failure: OnFailure | None = None

    def filled(self) -> Terms:
        if self.apology is not None and self.on_failure is not None:
            return self
        voice = from_environ(os.environ).voice
        apology = voice.apology if self.apology is None else self.apology
        return Terms(apology, self.on_failure or voice.on_failure)


def has_begun(context: JobContext) -> bool:
    """Whether this call is being ended here: nobody else should end the job meanwhile."""
    return context.job.id in _begun


def fail_soon(context: JobContext, error: object, terms: Terms, session: AgentSession[Any] | None) -> None:
    """`fail`, for those who cannot wait."""
    task = asyncio.get_running_loop().create_task(fail(context, error, terms, session))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def fail(
    context: JobContext, error: object, terms: Terms, session: AgentSession[Any] | None = None, kind: str = ""
) -> None:
    """Once for each call; the job is ending when it returns."""
    if has_begun(context):
        return
    _begun.add(context.job.id)
    kind = tell(error, context=context, kind=kind, fatal=True)
    try:
        if not context.is_fake_job():
            await _part(context, terms.filled(), session, silent=kind == _VOICE)
    finally:
        context.shutdown(f"the agent failed: {kind}")


async def _part(context: JobContext, terms: Terms, session: AgentSession[Any] | None, *, silent: bool) -> None:
    if terms.on_failure == "handover" and handover.is_possible(context):
        handover.hand_over()
    session = session or sessions.latest(context.job.id)
    if session is not None:
        _mute(session)
        if terms.apology and session.tts is not None and not silent and _has_listeners(context):
            await apologise(context.room, session, terms.apology)
    if terms.on_failure != "leave":
        with contextlib.suppress(Exception):
            await asyncio.wait_for(context.delete_room(), _DELETED_WITHIN)


def _mute(session: AgentSession[Any]) -> None:
    """A session that still runs neither answers nor speaks over the apology."""
    with contextlib.suppress(RuntimeError):
        session.interrupt(force=True)
    session.input.set_audio_enabled(False)


def _has_listeners(context: JobContext) -> bool:
    return context.room.isconnected() and bool(context.room.remote_participants)
