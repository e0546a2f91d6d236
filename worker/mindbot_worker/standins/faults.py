"""Faults on demand: the next requests of a kind fail the way real providers do, set by `POST /faults`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from aiohttp import web

Piece = TypeVar("Piece")

KINDS = ("llm", "tts", "stt")
STATUS, STALL, CUT, EMPTY = "status", "stall", "cut", "empty"
_KNOWN = {STATUS, STALL, CUT, EMPTY}
_SYNONYMS = {"drop": CUT}


class BadFault(ValueError):
    """A fault that makes no sense; the message says why."""


class Cut(Exception):
    """The connection is to be dropped here, without a goodbye."""


@dataclass(slots=True)
class Fault:
    """`status`: an error answer. `stall`: nothing more after `after`. `cut`: the connection is lost there.
    `empty`: a good answer with nothing in it.

    `after` counts pieces of an answer (words, audio chunks), for speech recognition seconds of audio. With a `model` it
    waits for a request to that one: the others of its kind are answered.
    """

    kind: str
    fault: str
    status: int = 500
    retry_after: float | None = None
    after: float = 0
    times: int = 1
    model: str = ""

    def __post_init__(self) -> None:
        self.fault = _SYNONYMS.get(self.fault, self.fault)
        if self.kind not in KINDS:
            raise BadFault(f"kind is one of {', '.join(KINDS)}")
        if self.fault not in _KNOWN:
            raise BadFault(f"fault is one of {', '.join(sorted(_KNOWN | set(_SYNONYMS)))}")
        if not isinstance(self.status, int) or not 400 <= self.status <= 599:
            raise BadFault("status is from 400 to 599")
        if not isinstance(self.times, int) or self.times < 1:
            raise BadFault("times is 1 or more")
        if not isinstance(self.model, str):
            raise BadFault("model is a name")
        if not all(isinstance(value, int | float) for value in (self.after, self.retry_after or 0)):
            raise BadFault("after and retry_after are numbers")

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}


class Faults:
    """The faults that wait for a request; set by `POST /faults`."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def take(self, kind: str, model: object) -> Fault | None:
        """The fault for the next request of this kind to this model, used up once."""
        for fault in self._waiting:
            if fault.kind == kind and fault.model in ("", model):
                fault.times -= 1
                if fault.times == 0:
                    self._waiting.remove(fault)
                return fault
        return None

    async def show(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in self._waiting])

    async def add(self, request: web.Request) -> web.Response:
        try:
            body: Any = await request.json()
            self._waiting.append(Fault(**body))
        except (ValueError, TypeError) as exc:
            return web.json_response({"error": f"cannot use this fault: {exc}"}, status=400)
        return await self.show(request)

    async def clear(self, request: web.Request) -> web.Response:
        self._waiting.clear()
        return await self.show(request)


def name_of(fault: Fault | None) -> str:
    """For the list of what was seen: "" for a request that is answered as it should be."""
    return "" if fault is None else fault.fault


async def forever() -> None:
    """A stall: ends only when the request is cancelled, by its client or by our end."""
    await asyncio.Event().wait()


async def through(fault: Fault | None, pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """`pieces`, as far as the fault lets them. Raises Cut where the connection is to break."""
    if fault is not None and fault.fault == EMPTY:
        return
    given = 0
    async for piece in pieces:
        await trip(fault, given)
        given += 1
        yield piece


async def trip(fault: Fault | None, given: float) -> None:
    """Stalls or raises Cut once `given` has reached the fault's `after`."""
    if fault is None or given < fault.after:
        return
    if fault.fault == STALL:
        await forever()
    if fault.fault == CUT:
        raise Cut


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
