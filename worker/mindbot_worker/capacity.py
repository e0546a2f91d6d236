"""Makes LiveKit count as we do: a worker is full at exactly `max_calls`, calls it has only just accepted included."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from livekit.agents import AgentServer, JobRequest

from mindbot_worker import livekit_internals as internals
from mindbot_worker.load import FULL, HostPressure, load_of
from mindbot_worker.template import jobserver

logger = logging.getLogger(__name__)

REFUSED = "job.refused"

OnRequest = Callable[[JobRequest], Awaitable[None]]


class Capacity:
    """The seats of one worker. A user's own load function is kept, and `max_calls` holds beside it."""

    def __init__(self, server: AgentServer, max_calls: int) -> None:
        self._server = server
        self._max = max_calls
        self._pressure = HostPressure()
        self._asked: set[str] = set()
        self._ours = not internals.has_own_load(server)

    def install(self) -> None:
        if self._ours:
            self._server.load_fnc = self.load
            internals.put(self._server, "load_threshold", FULL)
            internals.override_effective_load(self._server, self.effective_load)
        internals.put(self._server, "request_fnc", self._guarded(internals.get(self._server, "request_fnc")))

    def load(self) -> float:
        """The load function; LiveKit calls it in a thread."""
        return load_of(len(internals.active_jobs(self._server)), self._seats(), self._pressure())

    def effective_load(self) -> float:
        """The load with the calls that were promised a seat."""
        return load_of(self._taken(), self._seats(), self._pressure())

    def share_taken(self) -> float:
        """For people: the share of the seats that are taken, or what the user's own function says."""
        return self._taken() / self._max if self._ours else internals.load(self._server)

    @property
    def full(self) -> bool:
        return self._taken() >= self._seats()

    def _seats(self) -> int:
        """`max_calls`; where no job process can be started any more, what is left of warm ones."""
        if not jobserver.is_gone():
            return self._max
        left = len(internals.active_jobs(self._server)) + internals.warm_processes(self._server)
        return min(self._max, left)

    def _taken(self) -> int:
        active = internals.active_jobs(self._server)
        # LiveKit gives a slot back a moment after its job was launched: that one is not counted twice
        reserved = internals.reserved_slots(self._server) - len(self._asked & active)
        return len(active) + max(reserved, 0)

    def _guarded(self, on_request: OnRequest | None) -> OnRequest:
        async def accept(request: JobRequest) -> None:
            await request.accept()

        decide = on_request or accept

        @functools.wraps(decide)
        async def on_request_within_max_calls(request: JobRequest) -> Any:
            self._asked.add(request.id)
            try:
                if self._taken() > self._seats():
                    logger.info(
                        "no seat is free",
                        extra={"event": REFUSED, "job": request.id, "room": request.room.name, "limit": self._seats()},
                    )
                    # terminate=True, LiveKit's default, would keep the other workers from taking the call
                    return await request.reject(terminate=False)
                return await decide(request)
            finally:
                self._asked.discard(request.id)

        return on_request_within_max_calls
