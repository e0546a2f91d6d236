"""Begins to serve: the control socket for commands, and the page where one is wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from .core import events
from .ops.control import Pages, Server, control_app, http_app
from .ops.view import Json
from .sockets import Sockets

Answers = Mapping[str, Callable[[Mapping[str, object]], Awaitable[Json]]]


async def serve(
    bound: Sockets, pages: Pages, commands: Answers, questions: Answers, note: Callable[..., None]
) -> list[Server]:
    servers = [Server(control_app(pages, commands, questions), bound.control)]
    if bound.http is not None:
        servers.append(Server(http_app(pages), bound.http))
        host, port = bound.http.getsockname()[:2]
        note(events.HTTP_LISTENING, address=f"{host}:{port}")
    elif bound.http_problem:
        note(events.HTTP_UNAVAILABLE, "warning", detail=bound.http_problem)
    for server in servers:
        await server.start()
    return servers
