"""Whether the worker is registered at LiveKit, and why it is not: kept in the vitals as it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from livekit.agents import AgentServer

from mindbot_worker import livekit_internals as internals
from mindbot_worker import wire
from mindbot_worker.connection import ConnectionRecords, Connector
from mindbot_worker.vitals import Vitals

READY, UNREGISTERED = "serving.ready", "serving.unregistered"
"""Not `worker.ready` and so on: those are the supervisor's, whose log these lines end up in."""

logger = logging.getLogger(__name__)


class Registration:
    """Ready means: registered for the first time, or, where the worker is not to register, up."""

    def __init__(self, server: AgentServer, vitals: Vitals, *, wanted: bool, changed: Callable[[], None]) -> None:
        self._server, self._vitals, self._wanted, self._changed = server, vitals, wanted, changed
        self._registered = False
        self.up = False
        """The server has started: from now on it can drain."""
        self.ready = asyncio.Event()

    def observe(self) -> None:
        self._vitals.registered = False if self._wanted else None
        self._server.on("worker_started", self._on_started)
        self._server.on("worker_registered", self._on_registered)
        ConnectionRecords(internals.get(self._server, "ws_url", ""), self._on_lost).install()

    def refresh(self) -> None:
        """LiveKit says when a connection is gone only in its log, and when it tries again only in an attribute."""
        if self._wanted:
            self._vitals.registered = self._registered and not internals.is_connecting(self._server)

    def _on_started(self) -> None:
        self.up = True
        Connector.install(internals.get(self._server, "http_session"), lambda: internals.is_connecting(self._server))
        if not self._wanted:
            self._on_ready()

    def _on_registered(self, worker_id: str) -> None:
        self._registered, self._vitals.worker_id, self._vitals.problem = True, worker_id, ""
        # LiveKit says "connecting" until this callback has returned
        asyncio.get_running_loop().call_soon(self._on_ready)

    def _on_ready(self) -> None:
        if self._vitals.state == wire.STARTING:
            self._vitals.state = wire.READY
            self.ready.set()
            logger.info("the worker is ready", extra={"event": READY})
        self._changed()

    def _on_lost(self, problem: str) -> None:
        if problem != self._vitals.problem:
            logger.warning(problem, extra={"event": UNREGISTERED})
        self._registered, self._vitals.problem = False, problem
        self._changed()
