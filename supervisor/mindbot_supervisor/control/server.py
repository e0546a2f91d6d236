"""The control socket and the read-only HTTP endpoint. Both serve the same few pages; only the socket takes commands."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

from aiohttp import hdrs, web

from mindbot_config.output import strict_json
from mindbot_config.output.redaction import Redactor
from mindbot_supervisor.control.connection_limits import Acceptor, SpareDescriptors
from mindbot_supervisor.control.connections import BODY_MAX, REQUEST_TIMEOUT, Connection, Connections
from mindbot_supervisor.control.page_access import PageAccess
from mindbot_supervisor.control.request_fields import BadFields, Command, read
from mindbot_supervisor.control.unix_and_tcp_sockets import peer
from mindbot_supervisor.errors import SupervisorError
from mindbot_supervisor.observability.logging.masking import masking
from mindbot_supervisor.observability.status import Json

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GiveRedactor = Callable[[], Redactor]
"""Gives the one in force."""
SHUTDOWN = 1.0
"""Seconds that answers may take at the daemon's end."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What the daemon answers: `status` as JSON, `unready` with the reason, or None when a worker is ready, and
    `metrics` as Prometheus reads them: the page and its content type, for an Accept header.
    """

    status: Callable[[], Json]
    unready: Callable[[], str | None]
    metrics: Callable[[str], Awaitable[tuple[bytes, str]]]


def http_app(pages: Pages, redactor: GiveRedactor, access: PageAccess) -> web.Application:
    """The read-only pages, for whoever may read them."""

    @web.middleware
    async def allowed_only(request: web.Request, handler: Handler) -> web.StreamResponse:
        why = access.why_not(request)
        return await handler(request) if why is None else web.Response(text=f"{why}\n", status=403)

    app = _app(redactor, allowed_only)
    _add_pages(app, pages, access)
    return app


def control_app(
    pages: Pages, redactor: GiveRedactor, commands: Mapping[str, Command], queries: Mapping[str, Command]
) -> web.Application:
    """The same pages, `POST /NAME` for each command and `GET /NAME` for each query; for our own user and root only."""
    app = _app(redactor, _peers_only)
    _add_pages(app, pages, PageAccess(local=True))
    for name, command in commands.items():
        app.router.add_post(f"/{name}", _serve(name, command))
    for name, query in queries.items():
        app.router.add_get(f"/{name}", _serve(name, query))
    return app


def _app(redactor: GiveRedactor, *checks: Callable[..., Awaitable[web.StreamResponse]]) -> web.Application:
    app = web.Application(client_max_size=BODY_MAX, middlewares=[_whole_request, masking(redactor), *checks])
    app.on_response_prepare.append(_bare_headers)
    return app


def _add_pages(app: web.Application, pages: Pages, access: PageAccess) -> None:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        why = pages.unready()
        text = "ready" if why is None else access.shown_text(why)
        body = f"{text}\n".encode(errors="replace").decode()  # a worker's words may hold what no text can
        return web.Response(text=body, status=200 if why is None else 503)

    async def status(_: web.Request) -> web.Response:
        return _json(access.shown(pages.status()))

    async def metrics(request: web.Request) -> web.Response:
        page, kind = await pages.metrics(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=page, headers={hdrs.CONTENT_TYPE: kind})

    for path, page in (("/healthz", healthz), ("/readyz", readyz), ("/status", status), ("/metrics", metrics)):
        app.router.add_get(path, page)


def _serve(name: str, command: Command) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            return _json(await command.run(read(name, command.fields, await _given(request))))
        except BadFields as exc:
            return _json({"error": str(exc)}, 400)
        except SupervisorError as exc:
            return _json({"error": str(exc)}, 409)

    return handle


async def _given(request: web.Request) -> Mapping[str, object]:
    """The fields of a request: a JSON object, or those of a question's query. Raises BadFields."""
    query = dict(request.query)
    if request.method == hdrs.METH_GET:
        return query
    if query:
        raise BadFields("fields are sent as a JSON object, not in the query")
    body = await request.read()
    if not body:
        return {}
    try:
        fields = strict_json.loads(body)
    except ValueError:
        raise BadFields("the request is not JSON") from None
    if not isinstance(fields, dict):
        raise BadFields("the request is not a JSON object")
    return fields


def _json(answer: Json, status: int = 200) -> web.Response:
    return web.Response(text=strict_json.dumps(answer), status=status, content_type="application/json")


@web.middleware
async def _whole_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serves a request when all of it has come: no page and no command waits for a client."""
    with cast(Connection, request.protocol).answering():
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await request.read()
        except TimeoutError:
            response = web.Response(text="the request did not come in time\n", status=408)
            response.force_close()
            return response
        except (ConnectionError, RuntimeError) as exc:  # aiohttp raises either, by what the reading waited for
            raise ConnectionResetError("the client left before its request was whole") from exc
        except (web.RequestPayloadError, ValueError):
            response = web.Response(text="the body of the request cannot be read\n", status=400)
            response.force_close()
            return response
        return await handler(request)


async def _bare_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Remove the Server header, and forbid caching and guesses of the type."""
    response.headers.popall(hdrs.SERVER, None)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


@web.middleware
async def _peers_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    client = request.transport.get_extra_info("socket") if request.transport is not None else None
    if client is None or peer(client)[1] not in (0, os.geteuid()):
        return _json({"error": "only the daemon's own user and root may use this socket"}, 403)
    return await handler(request)


class Server:
    """An application on a listening socket that stays its owner's. `spare` is for one that must always answer."""

    def __init__(self, app: web.Application, listener: socket.socket, spare: SpareDescriptors | None = None) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN)
        self._listener, self._spare = listener, spare
        self._connections: Connections | None = None
        self._acceptor: Acceptor | None = None

    async def start(self, most: int, idle: float) -> None:
        await self._runner.setup()
        assert self._runner.server is not None
        self._connections = Connections(self._runner.server, most=most, idle=idle, auxiliary=self._spare is None)
        if self._spare is not None:
            self._connections.closed = self._spare.refill
        self._acceptor = Acceptor(self._listener, self._connections.take, self._spare)

    def bound(self, most: int, idle: float) -> None:
        """Set the limits: so many connections, and so many seconds for an idle one."""
        if self._connections is not None:
            self._connections.most, self._connections.idle = most, idle

    def listen_on(self, listener: socket.socket) -> None:
        """Take connections from this socket instead."""
        self._listener = listener
        if self._acceptor is not None and self._connections is not None:
            self._acceptor.stop()
            self._acceptor = Acceptor(listener, self._connections.take, self._spare)

    async def close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.stop()
        await self._runner.cleanup()
        if self._connections is not None:
            self._connections.close()
