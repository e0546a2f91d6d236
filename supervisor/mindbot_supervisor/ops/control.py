"""The control socket and the read-only HTTP endpoint. Both serve the same few pages; only the socket takes commands."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from mindbot_supervisor.errors import Refused

from .view import Json

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""
Command = Callable[[Mapping[str, object]], Awaitable[Json]]
"""Takes the request's fields, returns the answer's; raises SupervisorError."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What the daemon answers: `status` as JSON, `unready` with the reason, or None when a worker is ready, and
    `metrics` as Prometheus reads them.
    """

    status: Callable[[], Json]
    unready: Callable[[], str | None]
    metrics: Callable[[], str]


def http_app(pages: Pages) -> web.Application:
    """The read-only pages."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        why = pages.unready()
        return web.Response(text="ready\n" if why is None else f"{why}\n", status=200 if why is None else 503)

    async def status(_: web.Request) -> web.Response:
        return web.json_response(pages.status())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=pages.metrics().encode(), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    for path, page in (("/healthz", healthz), ("/readyz", readyz), ("/status", status), ("/metrics", metrics)):
        app.router.add_get(path, page)
    return app


def control_app(
    pages: Pages, commands: Mapping[str, Command], queries: Mapping[str, Command] | None = None
) -> web.Application:
    """The same pages, `POST /NAME` for each command and `GET /NAME` for each query; for our own user and root only."""
    app = http_app(pages)
    app.middlewares.append(_peers_only)
    for name, command in commands.items():
        app.router.add_post(f"/{name}", _serve(command))
    for name, query in (queries or {}).items():
        app.router.add_get(f"/{name}", _serve(query))
    return app


def _serve(command: Command) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            fields = await request.json() if request.can_read_body else dict(request.query)
            if not isinstance(fields, dict):
                raise Refused("the request is not a JSON object")
            return web.json_response(await command(fields))
        except ValueError:
            return web.json_response({"error": "the request is not JSON"}, status=400)
        except Refused as exc:
            return web.json_response({"error": str(exc)}, status=409)

    return handle


@web.middleware
async def _peers_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    peer = request.transport.get_extra_info("socket") if request.transport is not None else None
    if peer is None or peer_uid(peer) not in (0, os.geteuid()):
        return web.json_response({"error": "only the daemon's own user and root may use this socket"}, status=403)
    return await handler(request)


def peer_uid(peer: socket.socket) -> int:
    """The user at the other end of a Unix socket."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


class Server:
    """An application served on a socket that is already bound."""

    def __init__(self, app: web.Application, listener: socket.socket) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._listener = listener

    async def start(self) -> None:
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener, shutdown_timeout=1.0).start()

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            await self._runner.cleanup()
