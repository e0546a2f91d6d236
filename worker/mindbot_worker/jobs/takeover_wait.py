"""Lets a job that takes a call over from a living agent wait, outside of the room, until that agent has left it.

The supervisor takes the old agent out of the room, and then gives its journal the name that the new agent was told. On
another host, where that file does not appear, LiveKit is asked who is in the room.
"""

from __future__ import annotations

import asyncio
import logging
import time

from livekit import api
from livekit.agents import JobContext

from mindbot_worker.jobs import call_journal
from mindbot_worker.livekit_adapter import internals
from mindbot_worker.protocol import heartbeat

NOT_HANDED_OVER = "call.not_handed_over"
LOOK = 0.01
ASK_AFTER, ASK_EVERY, ASK_WITHIN = 1.0, 0.5, 1.0
"""Seconds from which on LiveKit is asked, how often, and how long it has for an answer."""
PATIENCE = 30.0
"""Seconds after which the takeover has certainly failed: `recovery.deadline` is far shorter."""

logger = logging.getLogger(__name__)


async def has_the_call(context: JobContext) -> bool:
    """Wait until the call is this job's: at once, where it is no takeover. False if it failed; the job ends then."""
    before = call_journal.attributes(context).get(heartbeat.AFTER)
    if not before:
        return True
    journal, ending = call_journal.path_of(context), internals.job_ending(context)
    began = time.monotonic()
    ask_at = began + ASK_AFTER
    while time.monotonic() - began < PATIENCE and not (ending is not None and ending.done()):
        if journal is not None and journal.exists():
            return True
        if time.monotonic() >= ask_at:
            if await _has_left(context, before):
                return True
            ask_at = time.monotonic() + ASK_EVERY
        await asyncio.sleep(LOOK)
    logger.info("the old agent keeps the call", extra={"event": NOT_HANDED_OVER})
    context.shutdown("the call was not handed over")
    return False


async def _has_left(context: JobContext, identity: str) -> bool:
    """Whether this participant is not in the room any more; False where LiveKit does not answer."""
    asked = api.ListParticipantsRequest(room=context.job.room.name)
    try:
        async with asyncio.timeout(ASK_WITHIN):
            people = (await context.api.room.list_participants(asked)).participants
    except Exception as exc:
        logger.debug("cannot see who is in the room", extra={"reason": type(exc).__name__})
        return False
    return all(each.identity != identity for each in people)
