"""What the OpenAI and Deepgram stand-ins share: server-sent events, and connections that break."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from mindbot_worker.local.faults import Cut

EVENT_STREAM = "text/event-stream"


def event(data: dict[str, Any] | str) -> bytes:
    """One server-sent event."""
    return b"data: " + (data if isinstance(data, str) else json.dumps(data)).encode() + b"\n\n"


async def stream(
    request: web.Request, media_type: str, pieces: AsyncIterator[bytes], request_id: str
) -> web.StreamResponse:
    """Sends each piece as soon as it is there. A Cut among them breaks the connection in mid-body."""
    response = web.StreamResponse(headers={"Content-Type": media_type, "x-request-id": request_id})
    response.headers["Cache-Control"] = "no-cache"
    await response.prepare(request)
    try:
        async for piece in pieces:
            if piece:
                await response.write(piece)
    except Cut:
        abort(request)
        return response
    await response.write_eof()
    return response


def abort(request: web.Request) -> None:
    """Drops the connection the way a lost network or a crashed server does."""
    if request.transport is not None:
        request.transport.abort()
