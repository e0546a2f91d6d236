"""Makes synthetic calls: a real job process and session without a room, to prove that this worker can serve."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid

from livekit.agents import AgentServer

from mindbot_worker.jobs.entrypoint import SYNTHETIC
from mindbot_worker.livekit_adapter import internals
from mindbot_worker.runtime.capacity import Capacity

SKIPPED = "job.skipped"
_JITTER = 0.1

logger = logging.getLogger(__name__)


class SyntheticCalls:
    """Makes one call right away, then one in each interval, give or take a tenth so that workers differ."""

    def __init__(self, server: AgentServer, capacity: Capacity, interval: float) -> None:
        self._server = server
        self._capacity = capacity
        self._interval = interval

    async def run(self) -> None:
        while not internals.is_closing(self._server):
            await self._call()
            await asyncio.sleep(self._interval * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311

    async def _call(self) -> None:
        room = f"{SYNTHETIC}{uuid.uuid4().hex[:8]}"
        if self._capacity.full:
            logger.info("no room for a synthetic call", extra={"event": SKIPPED, "room": room})
            return
        try:
            await self._server.simulate_job(room, fake_job=True)
        except Exception:
            logger.exception("a synthetic call could not be started", extra={"room": room})
