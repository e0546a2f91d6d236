"""Bounds the connections of one HTTP server: how many there may be, and when one is closed.

aiohttp bounds neither their number nor the time that a client takes to send a request or to read an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import cast

from aiohttp import web

from mindbot_supervisor.control.connection_limits import is_reserved

REQUEST_TIMEOUT = 10.0
"""Seconds for a whole request, from its first byte."""
BODY_MAX = 64 * 1024
"""Bytes of a request's body."""
SLOW_AFTER, SLOW_BYTES = 10.0, 64 * 1024
"""A client that takes fewer bytes than this of a waiting answer within so many seconds is cut off."""
LINGERING = 1.0
"""Seconds in which the rest of a refused body is read and thrown away, so that the client can read why."""
LOOK = 1.0
"""Seconds between two looks at what is overdue."""

NOT_HTTP = "this is not a request that can be read: it is malformed, or a line of it is too long"


class Stage(Enum):
    """What a connection waits for."""

    IDLE = auto()
    """A request."""
    RECEIVING = auto()
    """The rest of a request."""
    ANSWERING = auto()
    """The answer, or the end of one that is streamed."""


class Connection(web.RequestHandler):
    """One client, as aiohttp serves it, and how long we have been waiting for it."""

    __slots__ = ("_aborted", "_gone", "_transport", "_unsent", "_unsent_since", "since", "stage")

    def __init__(self, manager: web.Server, gone: Callable[[Connection], None], idle: float) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            logger=_REPORTS,
            keepalive_timeout=idle,
            lingering_time=LINGERING,
            auto_decompress=False,
        )
        self._gone = gone
        self._aborted = False
        self._transport: asyncio.Transport | None = None
        self._unsent, self._unsent_since = 0, 0.0
        self._enter(Stage.IDLE)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """While a request is served."""
        self._enter(Stage.ANSWERING)
        try:
            yield
        finally:
            self._enter(Stage.IDLE)

    @property
    def idle(self) -> bool:
        """Whether nothing is lost when it is closed: no request has been received whole, no answer is on its way."""
        return self.stage is not Stage.ANSWERING and not self._buffered()

    def overdue(self, now: float, idle: float) -> bool:
        """Whether the client has had its time. To be asked every LOOK seconds."""
        if self._reads_too_slowly(now):
            return True
        if self.stage is Stage.ANSWERING:
            return False
        return now - self.since > (REQUEST_TIMEOUT if self.stage is Stage.RECEIVING else idle)

    def abort(self) -> None:
        """Close it now, whatever is unsent."""
        self._aborted = True
        if self._transport is not None:
            self._transport.abort()

    def _enter(self, stage: Stage) -> None:
        self.stage, self.since = stage, time.monotonic()

    def _buffered(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def _reads_too_slowly(self, now: float) -> bool:
        unsent = self._buffered()
        if not unsent or not self._unsent:
            self._unsent, self._unsent_since = unsent, now
            return False
        if now - self._unsent_since < SLOW_AFTER:
            return False
        taken, self._unsent, self._unsent_since = self._unsent - unsent, unsent, now
        return taken < SLOW_BYTES

    # -- what aiohttp and the loop call --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)
        if self._aborted:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if data and self.stage is Stage.IDLE:
            self._enter(Stage.RECEIVING)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._transport = None
        self._gone(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """One plain line instead of aiohttp's page and traceback; a fault of ours is reported."""
        if status >= 500 and exc is not None and not isinstance(exc, ConnectionError):  # a client that left is none
            _report(exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun: it can only be cut off")
        return _Refusal(status, "internal error" if status >= 500 else NOT_HTTP)


class _Refusal(web.StreamResponse):
    """An answer to what aiohttp could not read: written as it is, as no hook of the application sees it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status=status)
        self.force_close()
        self._line = plain_answer(status, self.reason, text)

    async def prepare(self, request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.write(self._line)

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def plain_answer(status: int, reason: str, text: str) -> bytes:
    """A whole answer, after which the connection is closed."""
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class _Reports(logging.Logger):
    """In place of aiohttp's logger, which would write tracebacks to stderr."""

    def handle(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        _report(exc if exc is not None else RuntimeError(record.getMessage()))


_REPORTS = _Reports("mindbot.http", logging.ERROR)


def _report(exc: BaseException) -> None:
    """A bug of ours, told as every other one: by the event loop's exception handler."""
    asyncio.get_running_loop().call_exception_handler({"message": "a page or a command failed", "exception": exc})


class Connections:
    """The connections of one server. `auxiliary` ones never take the daemon's last descriptors."""

    def __init__(self, server: web.Server, *, most: int, idle: float, auxiliary: bool) -> None:
        self._server, self._auxiliary = server, auxiliary
        self.most, self.idle = most, idle
        """How many there may be, and seconds that one may be idle."""
        self.closed: Callable[[], None] = lambda: None
        """Called after the end of each."""
        self._loop = asyncio.get_running_loop()
        self._all: dict[Connection, None] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def take(self, accepted: socket.socket) -> None:
        """Serve this client: in place of the one that has been idle for longest, where there are as many as may be."""
        if (self._auxiliary and is_reserved(accepted.fileno())) or not self._make_room():
            refuse(accepted)
            return
        connection = Connection(self._server, self._gone, self.idle)
        self._all[connection] = None
        task = self._loop.create_task(self._open(connection, accepted))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look)

    def close(self) -> None:
        """Cut off whoever is left."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._all):
            connection.abort()

    async def _open(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except (OSError, RuntimeError):
            accepted.close()
            self._gone(connection)

    def _make_room(self) -> bool:
        while len(self._all) >= self.most:
            longest = min((each for each in self._all if each.idle), key=lambda each: each.since, default=None)
            if longest is None:
                return False
            self._cut(longest)
        return True

    def _cut(self, connection: Connection) -> None:
        self._all.pop(connection, None)
        connection.abort()

    def _gone(self, connection: Connection) -> None:
        self._all.pop(connection, None)
        self.closed()

    def _look(self) -> None:
        now = time.monotonic()
        for connection in list(self._all):
            if connection.overdue(now, self.idle):
                self._cut(connection)
        self._timer = self._loop.call_later(LOOK, self._look) if self._all else None


def refuse(accepted: socket.socket) -> None:
    """There are too many: say so if that costs nothing, and close."""
    with contextlib.suppress(OSError):
        accepted.send(plain_answer(503, "Service Unavailable", "too many connections"), socket.MSG_DONTWAIT)
    accepted.close()
