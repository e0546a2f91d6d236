"""Joins the room of a call, with retries for as long as a caller may be waiting there."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable
from typing import Any

from livekit import api
from livekit.agents import JobContext

from mindbot_worker.jobs.notify_error import CONNECTION_ERRORS, CallEnded
from mindbot_worker.jobs.reporter import one_line
from mindbot_worker.livekit_adapter import internals
from mindbot_worker.sdk.performance import monitor_performance

_WITHIN = 2.0

logger = logging.getLogger(__name__)


class RoomOccupancy:
    """Asks LiveKit who is in the room of a job."""

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


CONNECT_RETRIED = "job.connect_retried"


LOOK_EVERY = 1.0
"""Seconds between two questions who is in the room, during a wait."""


class ConnectFailed(ConnectionError):
    """The room could not be joined, after all retries."""


def backoff(attempt: int) -> float:
    """Seconds until the attempt after this one (from 1): 1, 2, 4 …, give or take a quarter, so that calls which lost
    their connection together do not come back together.
    """
    return float(2 ** (attempt - 1) * random.uniform(0.75, 1.25))  # noqa: S311


@monitor_performance(name="connect", slow_after=2.0)
async def connect_with_retry(context: JobContext, retries: int = 3) -> None:
    """Join the room. Raises ConnectFailed in the end, and CallEnded as soon as nobody is left to join for; then the
    job is ending already. Errors that are none of the connection's are raised at once.
    """
    patience = ConnectionRetries(context)
    for attempt in range(1, retries + 2):
        try:
            await patience.unless_ending(context.connect())
            return
        except CONNECTION_ERRORS as exc:
            if attempt > retries:
                raise ConnectFailed(f"cannot join the room, tried {attempt} times: {one_line(exc)}") from exc
            failed = exc
        await patience.after(failed, attempt)


class ConnectionRetries:
    """Waits between attempts, and stops as soon as the call is over."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._room = RoomOccupancy(context)
        future = internals.job_ending(context)
        self._ending: set[asyncio.Future[Any]] = set() if future is None else {future}

    async def after(self, error: BaseException, attempt: int) -> None:
        """The pause after this attempt (from 1) failed. Raises CallEnded within about LOOK_EVERY of the call's end."""
        wait = backoff(attempt)
        said = {"reason": one_line(error), "again_in": round(wait, 2), "attempt": attempt}
        logger.warning("no connection yet", extra={"event": CONNECT_RETRIED, **said})
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            await self.unless_ending(asyncio.sleep(min(left, LOOK_EVERY)))
            if await self._room.is_empty():
                self._context.shutdown("the caller has left before the agent came")
                raise CallEnded("the caller has left")

    async def unless_ending(self, work: Awaitable[None]) -> None:
        """Raises CallEnded, with the work cancelled, when the job is told to end meanwhile."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, *self._ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            raise CallEnded("the job was told to end")
        task.result()
