"""The stand-in for Deepgram: `/v1/listen` as a websocket for live sound, and as a POST for a recording."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from typing import Any

import av
import numpy as np
from aiohttp import web

from mindbot_worker.local.deepgram_format import BadQuery, Messages, Query
from mindbot_worker.local.deepgram_live import Conversation
from mindbot_worker.local.faults import STATUS, Fault, Faults, name_of, trip
from mindbot_worker.local.features import Floats
from mindbot_worker.local.listening import Asked, Listener, Words
from mindbot_worker.local.recogniser import PhraseBook
from mindbot_worker.local.seen import Seen, add_text

_RECORDING_RATE = 16_000


async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
    """Asks for a key, as Deepgram does."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme not in ("Token", "Bearer") or not key.strip():
        return _error(401, "INVALID_AUTH", "Invalid credentials.")
    response: web.StreamResponse = await handler(request)
    return response


class Deepgram:
    def __init__(self, book: PhraseBook, seen: Seen, faults: Faults) -> None:
        self._book, self._seen, self._faults = book, seen, faults

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """GET: a websocket that hears sound and says what it was."""
        fault = self._faults.take("stt", request.query.get("model", ""))
        try:
            query = Query.streaming(request.query)
        except BadQuery as exc:
            return _error(400, "Bad Request", str(exc))
        entry = self._note(request, query, fault, live=True)
        if fault is not None and fault.fault == STATUS:
            return _error(fault.status, "FAULT", f"{fault.status} as asked", fault.headers())
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await Conversation(socket, query, Listener(self._book, query.rate, query.asked), entry, fault).run()
        return socket

    async def transcribe(self, request: web.Request) -> web.Response:
        """POST: a recording in any format ffmpeg reads, as the request's body."""
        fault = self._faults.take("stt", request.query.get("model", ""))
        try:
            query = Query.recorded(request.query)
            samples = await asyncio.to_thread(_decoded, await request.read())
        except (BadQuery, av.FFmpegError, IndexError) as exc:
            return _error(400, "Bad Request", f"cannot use this request: {exc}")
        entry = self._note(request, query, fault, live=False)
        if fault is not None and fault.fault == STATUS:
            return _error(fault.status, "FAULT", f"{fault.status} as asked", fault.headers())
        await trip(fault, 0)
        heard = [] if fault is not None else await asyncio.to_thread(self._heard, samples)
        messages = Messages(query)
        for words in heard:
            add_text(entry, "transcripts", messages.alternative([words])["transcript"])
        return web.json_response(messages.recorded(heard, len(samples) / _RECORDING_RATE))

    async def projects(self, _: web.Request) -> web.Response:
        """What a check of the key asks for."""
        return web.json_response({"projects": [{"project_id": "local", "name": "local stand-in"}]})

    def _heard(self, samples: Floats) -> list[Words]:
        listener = Listener(self._book, _RECORDING_RATE, Asked(interim=False))
        events = [*listener.feed(samples), *listener.flush()]
        return [event for event in events if isinstance(event, Words)]

    def _note(self, request: web.Request, query: Query, fault: Fault | None, *, live: bool) -> dict[str, Any]:
        params = {key: request.query.getall(key) for key in request.query}
        plain = {key: values[0] if len(values) == 1 else values for key, values in params.items()}
        told = {"language": query.language, "live": live, "fault": name_of(fault)}
        return self._seen.note("stt", model=query.model, params=plain, **told)


def _decoded(body: bytes) -> Floats:
    """The sound of a recording, mono, at the recogniser's rate. Raises what av raises for anything else."""
    parts = []
    with av.open(io.BytesIO(body), "r") as container:
        resampler = av.AudioResampler("s16", "mono", _RECORDING_RATE)
        for frame in (*container.decode(container.streams.audio[0]), None):
            parts += [ready.to_ndarray()[0] for ready in resampler.resample(frame)]
    return np.concatenate(parts or [np.zeros(0, np.int16)]).astype(np.float32) / np.float32(32768)


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Deepgram's error format; a websocket client sees only the status and the header."""
    request_id = str(uuid.uuid4())
    text = json.dumps({"err_code": code, "err_msg": message, "request_id": request_id})
    all_headers = {"dg-request-id": request_id, "dg-error": message} | (headers or {})
    return web.Response(status=status, text=text, content_type="application/json", headers=all_headers)
