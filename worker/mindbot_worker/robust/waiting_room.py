"""Who is in a room that this agent has not joined: the server's API tells, where it can be reached."""

from __future__ import annotations

import asyncio
import logging

from livekit import api
from livekit.agents import JobContext

_WITHIN = 2.0

logger = logging.getLogger(__name__)


class WaitingRoom:
    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._seen = False

    async def is_empty(self) -> bool:
        """Whether the room is gone, or a caller who was there has left it. False where that cannot be known: an agent
        may be there before its caller, and a server that is away says nothing.
        """
        if self._context.is_fake_job():
            return False
        try:
            async with asyncio.timeout(_WITHIN):
                return await self._look()
        except Exception as exc:
            logger.debug("cannot see who is in the room", extra={"reason": type(exc).__name__})
            return False

    async def _look(self) -> bool:
        room, name = self._context.api.room, self._context.job.room.name
        people = (await room.list_participants(api.ListParticipantsRequest(room=name))).participants
        if any(each.kind != api.ParticipantInfo.Kind.AGENT for each in people):
            self._seen = True
            return False
        if self._seen:
            return True
        return not (await room.list_rooms(api.ListRoomsRequest(names=[name]))).rooms
