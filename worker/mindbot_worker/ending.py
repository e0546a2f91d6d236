"""The ways in which a server is brought to its end once the worker was asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from livekit.agents import AgentServer

from mindbot_worker import livekit_internals as internals

DRAINING = "serving.draining"

_CLOSE_LIMIT = 400.0
"""LiveKit's own limits for closing a call add up to 385 s; after that something hangs."""
_UNSTARTED_LIMIT = 5.0

logger = logging.getLogger(__name__)


async def drain(server: AgentServer, limit: float) -> None:
    """Take no new calls and wait for those there are, `limit` seconds at most (0: not at all); then close."""
    if limit:  # LiveKit would read 0 as "without a limit"
        try:
            await server.drain(timeout=limit)  # type: ignore[arg-type]
        except TimeoutError:
            calls = len(internals.active_jobs(server))
            logger.warning("the drain deadline has passed", extra={"event": DRAINING, "calls": calls, "limit": limit})
    try:
        await asyncio.wait_for(server.aclose(), _CLOSE_LIMIT)
    except TimeoutError:
        logger.error("the calls could not be closed in time", extra={"event": DRAINING, "limit": _CLOSE_LIMIT})


async def abandon(server: AgentServer, serving: asyncio.Task[Any]) -> None:
    """Asked to stop while still starting: there are no calls, and LiveKit's drain() would wait for the start."""
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await serving
    with contextlib.suppress(Exception):
        await asyncio.wait_for(internals.close_pool(server), _UNSTARTED_LIMIT)
