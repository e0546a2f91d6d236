"""The stand-in for Deepgram: `/v1/listen` as a websocket for live sound, and as a POST for a recording."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import Iterable
from typing import Any

import av
import numpy as np
from aiohttp import WSMsgType, web

from mindbot_worker.standins.deepgram_format import BadQuery, Messages, Query
from mindbot_worker.standins.faults import EMPTY, STATUS, Fault, Faults, name_of, trip
from mindbot_worker.standins.recogniser import Floats, PhraseBook
from mindbot_worker.standins.requests_seen import Seen, add_text
from mindbot_worker.standins.transcription import Asked, Event, Listener, Words

# Deepgram hangs up on a client from which nothing came for this long, KeepAlive included.
_SILENT_CLIENT_SECONDS = 12.0
_NO_DATA_CLOSE = 1011


class Conversation:
    """Serves one websocket: takes sound and control messages, and sends transcripts."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        query: Query,
        listener: Listener,
        entry: dict[str, Any],
        fault: Fault | None,
    ) -> None:
        self._socket, self._query, self._listener = socket, query, listener
        self._messages = Messages(query)
        self._entry, self._fault = entry, fault
        self._odd = b""

    async def run(self) -> None:
        await trip(self._fault, 0)
        while True:
            try:
                message = await self._socket.receive(timeout=_SILENT_CLIENT_SECONDS)
            except TimeoutError:
                await self._socket.close(code=_NO_DATA_CLOSE, message=b"NET-0001")
                return
            if message.type is WSMsgType.BINARY:
                await self._hear(message.data)
            elif message.type is WSMsgType.TEXT:
                if await self._told(message.data):
                    return
            else:
                return

    async def _hear(self, data: bytes) -> None:
        if not data:  # an older way to say CloseStream
            await self._finish()
            return
        whole = self._odd + data
        usable = len(whole) // (2 * self._query.channels) * 2 * self._query.channels
        self._odd = whole[usable:]
        samples = np.frombuffer(whole[:usable], "<i2")[:: self._query.channels].astype(np.float32) / np.float32(32768)
        await self._say(self._listener.feed(samples))
        await trip(self._fault, self._listener.now)

    async def _told(self, text: str) -> bool:
        """Obeys a control message; True once the conversation is over."""
        try:
            command = json.loads(text).get("type")
        except (ValueError, AttributeError):
            command = None
        if command == "Finalize":
            await self._say(self._listener.flush(), from_finalize=True)
        elif command in ("CloseStream", "CloseFrame"):
            await self._finish()
            return True
        return False

    async def _finish(self) -> None:
        await self._say(self._listener.flush())
        await self._socket.send_json(self._messages.metadata(self._listener.now))
        await self._socket.close()

    async def _say(self, events: Iterable[Event], *, from_finalize: bool = False) -> None:
        for event in events:
            message = self._messages.of(event, from_finalize=from_finalize)
            if message is None or (self._fault is not None and self._fault.fault == EMPTY):
                continue
            if isinstance(event, Words) and event.final:
                add_text(self._entry, "transcripts", message["channel"]["alternatives"][0]["transcript"])
            await self._socket.send_json(message)


_RECORDING_RATE = 16_000


async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
    """Asks for a key, as Deepgram does."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme not in ("Token", "Bearer") or not key.strip():
        return _error(401, "INVALID_AUTH", "Invalid credentials.")
    response: web.StreamResponse = await handler(request)
    return response


class Deepgram:
    """The routes of the stand-in for Deepgram."""

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
