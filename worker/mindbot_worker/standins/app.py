"""Builds the web application of the stand-ins: OpenAI, Deepgram, requests seen and faults, all on one port."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from mindbot_worker.standins import deepgram, openai
from mindbot_worker.standins.deepgram import Deepgram
from mindbot_worker.standins.faults import Cut, Faults, abort
from mindbot_worker.standins.openai import Chat
from mindbot_worker.standins.openai_speech import Speech
from mindbot_worker.standins.recogniser import PhraseBook
from mindbot_worker.standins.requests_seen import Seen

_BODY_MAX = 64 * 1024 * 1024
_DEEPGRAM_PATHS = ("/v1/listen", "/v1/projects", "/v1/auth/token")
_OPEN_PATHS = ("/seen", "/faults", "/healthz")


def build(book: PhraseBook) -> web.Application:
    seen, faults = Seen(), Faults()
    chat, speech, ears = Chat(seen, faults), Speech(seen, faults), Deepgram(book, seen, faults)
    app = web.Application(middlewares=[_guard], client_max_size=_BODY_MAX)
    app.add_routes(
        [
            web.get("/v1/models", openai.models),
            web.post("/v1/chat/completions", chat.complete),
            web.post("/v1/audio/speech", speech.create),
            web.get("/v1/listen", ears.listen),
            web.post("/v1/listen", ears.transcribe),
            web.get("/v1/projects", ears.projects),
            web.get("/v1/auth/token", ears.projects),
            web.get("/seen", seen.show),
            web.delete("/seen", seen.forget),
            web.get("/faults", faults.show),
            web.post("/faults", faults.add),
            web.delete("/faults", faults.clear),
            web.get("/healthz", _healthy),
        ]
    )
    return app


@web.middleware
async def _guard(request: web.Request, handler: Any) -> web.StreamResponse:
    """Each provider refuses a request without a key in its own way; each connection can be cut as a fault."""
    if request.path in _OPEN_PATHS:
        response: web.StreamResponse = await handler(request)
        return response
    guard = deepgram.guard if request.path in _DEEPGRAM_PATHS else openai.guard
    try:
        return await guard(request, handler)
    except (Cut, ConnectionResetError):
        abort(request)
        return web.Response()  # goes nowhere: the connection is gone


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")
