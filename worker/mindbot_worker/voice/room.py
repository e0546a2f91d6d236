"""The room of a call: getting in, and not staying when there is nobody to talk to."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, JobContext

CONNECT_RETRIED = "job.connect_retried"

_LEFT_ALONE = 20.0
"""Seconds for a caller whose network broke to come back."""

logger = logging.getLogger(__name__)


async def connect(context: JobContext, *, retries: int) -> None:
    """Join the room, again after 1, 2, 4 … seconds where it fails."""
    for attempt in range(retries + 1):
        try:
            await context.connect()
            return
        except rtc.ConnectError as exc:
            if attempt == retries:
                raise
            wait = 2**attempt
            logger.warning(
                "cannot join the room yet", extra={"event": CONNECT_RETRIED, "reason": str(exc), "again_in": wait}
            )
            await asyncio.sleep(wait)


def end_with_session(context: JobContext, session: AgentSession[Any]) -> None:
    """A session that closed, because the caller left or a provider failed for good, ends the job.

    Otherwise LiveKit keeps both room and job, and the caller listens to nobody.
    """

    def on_close(event: CloseEvent) -> None:
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
