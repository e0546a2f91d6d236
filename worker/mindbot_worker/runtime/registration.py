"""Follows whether the worker is registered at LiveKit, and why it is not; adds a backoff to LiveKit's retries."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from livekit.agents import AgentServer, APIStatusError

from mindbot_worker.livekit_adapter import internals
from mindbot_worker.livekit_adapter.internals import Attribute
from mindbot_worker.protocol import heartbeat
from mindbot_worker.runtime.heartbeat import WorkerStatus

_RETRYING = "failed to connect to livekit"
_LIVEKIT = "livekit.agents"
_CLOSE_TOGETHER = 15.0
_REGISTER_TIMEOUT = 20.0

logger = logging.getLogger(__name__)


class ConnectionLogFilter(logging.Filter):
    """Learns of each failed connection from LiveKit's warning, which it lowers to DEBUG."""

    def __init__(self, url: str, lost: Callable[[str], None]) -> None:
        super().__init__()
        self._url = url
        self._lost = lost

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(_RETRYING):
            return True
        self._lost(describe(getattr(record, "error", None), self._url))
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(_LIVEKIT).isEnabledFor(logging.DEBUG)

    def install(self) -> None:
        logging.getLogger(_LIVEKIT).addFilter(self)


def describe(error: object, url: str) -> str:
    """One plain sentence about a failed connection. It names the host, and never a credential."""
    where = plain_url(url)
    if isinstance(error, aiohttp.WSServerHandshakeError):
        if error.status in (401, 403):
            return f"livekit at {where} refused the credentials ({error.status})"
        return f"livekit at {where} answered {error.status} instead of opening a websocket"
    if isinstance(error, APIStatusError):
        return f"livekit at {where} closed the connection"
    if isinstance(error, aiohttp.WSMessageTypeError):
        return f"livekit at {where} closed the connection instead of registering the worker"
    if isinstance(error, aiohttp.InvalidURL):
        return f"the livekit url {where} is not valid"
    return f"cannot reach livekit at {where}: {_reason(error)}"


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host name cannot be resolved"
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return "the TLS certificate or handshake was not accepted"
    if isinstance(error, OSError):
        number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
        return {errno.ECONNREFUSED: "connection refused", errno.ECONNRESET: "connection reset"}.get(
            number or 0, _first_line(error)
        )
    return _first_line(error)


def _first_line(error: object) -> str:
    text = str(error).strip().partition("\n")[0]
    return text[:200] or type(error).__name__


def plain_url(url: str) -> str:
    """`url` without user, password and query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a url)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


class WebsocketBackoff:
    """Opens LiveKit's websocket with a backoff between attempts, and with a time limit for the registration.

    LiveKit's retry counter starts anew whenever a socket opens, so a proxy that accepts and closes at once is called
    some 430 times a second; and a server that accepts and says nothing is waited for without end.
    """

    def __init__(self, session: aiohttp.ClientSession, connecting: Callable[[], bool]) -> None:
        self._open = session.ws_connect
        self._connecting = connecting
        self._attempts = 0
        self._last = 0.0

    @classmethod
    def install(cls, session: object, connecting: Callable[[], bool]) -> None:
        if isinstance(session, aiohttp.ClientSession):
            object.__setattr__(session, "ws_connect", cls(session, connecting).ws_connect)

    async def ws_connect(self, *args: Any, **kwargs: Any) -> aiohttp.ClientWebSocketResponse:
        since = time.monotonic() - self._last
        self._attempts = self._attempts + 1 if since < _CLOSE_TOGETHER else 0
        if self._attempts > 1:
            # spread out, lest all workers of a host come back in the same instant
            await asyncio.sleep(max(backoff(self._attempts) * random.uniform(0.5, 1) - since, 0))  # noqa: S311
        self._last = time.monotonic()
        websocket: aiohttp.ClientWebSocketResponse = await self._open(*args, **kwargs)
        asyncio.get_running_loop().call_later(_REGISTER_TIMEOUT, self._give_up, websocket)
        return websocket

    def _give_up(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        if self._connecting() and not websocket.closed:
            self._closing = asyncio.ensure_future(websocket.close())


def backoff(attempts: int) -> float:
    """Seconds from one attempt to connect to the next, after so many close ones; at most LiveKit's own 10."""
    return min(0.25 * float(1 << min(attempts, 10)), 10.0)


READY, UNREGISTERED = "serving.ready", "serving.unregistered"
"""Not `worker.ready` and so on: those are the supervisor's, whose log these lines end up in."""


class Registration:
    """Keeps the worker's status up to date: ready once it is registered, or up where it is not to register."""

    def __init__(self, server: AgentServer, status: WorkerStatus, *, wanted: bool, changed: Callable[[], None]) -> None:
        self._server, self._status, self._wanted, self._changed = server, status, wanted, changed
        self._registered = False
        self.up = False
        """The server has started: from now on it can drain."""
        self.ready = asyncio.Event()

    def observe(self) -> None:
        self._status.registered = False if self._wanted else None
        self._server.on("worker_started", self._on_started)
        self._server.on("worker_registered", self._on_registered)
        ConnectionLogFilter(internals.get(self._server, Attribute.URL, ""), self._on_lost).install()

    def refresh(self) -> None:
        """Read whether LiveKit is connecting again: there is no event for that."""
        if self._wanted:
            self._status.registered = self._registered and not internals.is_connecting(self._server)

    def _on_started(self) -> None:
        self.up = True
        WebsocketBackoff.install(
            internals.get(self._server, Attribute.HTTP_SESSION), lambda: internals.is_connecting(self._server)
        )
        if not self._wanted:
            self._on_ready()

    def _on_registered(self, worker_id: str) -> None:
        self._registered, self._status.worker_id, self._status.problem = True, worker_id, ""
        # LiveKit says "connecting" until this callback has returned
        asyncio.get_running_loop().call_soon(self._on_ready)

    def _on_ready(self) -> None:
        if self._status.state == heartbeat.STARTING:
            self._status.state = heartbeat.READY
            self.ready.set()
            logger.info("the worker is ready", extra={"event": READY})
        self._changed()

    def _on_lost(self, problem: str) -> None:
        if problem != self._status.problem:
            logger.warning(problem, extra={"event": UNREGISTERED})
        self._registered, self._status.problem = False, problem
        self._changed()
