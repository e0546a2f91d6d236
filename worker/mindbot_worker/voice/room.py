"""The room of a call: not staying when there is nobody to talk to."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext

from mindbot_worker.robust import failing

_LEFT_ALONE = 20.0
"""Seconds for a caller whose network broke to come back."""


def end_with_session(context: JobContext, session: AgentSession[Any]) -> None:
    """A session that closed, because the caller left, ends the job; otherwise LiveKit keeps both room and job.

    One that closed because of an error has a caller still, of whom `robust_entrypoint` takes care.
    """

    def on_close(event: CloseEvent) -> None:
        if event.reason is not CloseReason.ERROR and not failing.has_begun(context):
            context.shutdown(f"session closed: {event.reason.value}")

    session.on("close", on_close)


def end_when_left(context: JobContext) -> None:
    """The session only ends by itself when the caller hangs up; a lost connection ends the call a little later."""

    def on_left(_: rtc.RemoteParticipant) -> None:
        if not _callers(context.room):
            asyncio.get_running_loop().call_later(_LEFT_ALONE, end_if_alone)

    def end_if_alone() -> None:
        if not _callers(context.room):
            context.shutdown("the caller has left")

    context.room.on("participant_disconnected", on_left)


def _callers(room: rtc.Room) -> list[rtc.RemoteParticipant]:
    agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    return [each for each in room.remote_participants.values() if each.kind != agent]
