"""One OpenAI client per call, with a limit to the requests that all calls of this host make at one time."""

from __future__ import annotations

import os
from pathlib import Path

import httpx2
import openai

from mindbot_worker import wire
from mindbot_worker.voice.seats import Seats, Ticket

_TIMEOUT = httpx2.Timeout(connect=15.0, read=5.0, write=5.0, pool=5.0)
"""LiveKit's own, from its OpenAI plugin."""


def open_client(*, api_key: str, base_url: str | None, concurrency: int) -> openai.AsyncClient:
    """The caller closes it. Retries are the session's: it knows how long a caller can wait."""
    directory = os.environ.get(wire.RUNTIME_DIR)
    seats = Seats(Path(directory) if directory else None, "openai", concurrency)
    return openai.AsyncClient(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=_Seated(seats), timeout=_TIMEOUT, follow_redirects=True),
    )


class _Seated(httpx2.AsyncBaseTransport):
    """A request takes a seat, and its response gives it back when it has been read or dropped."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._inner = httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=120)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        ticket = await self._seats.take()
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException:
            ticket.give_back()
            raise
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        response.stream = _Returning(stream, ticket)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Returning(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, ticket: Ticket) -> None:
        self._inner, self._ticket = inner, ticket

    def __aiter__(self):  # type: ignore[no-untyped-def]
        return self._inner.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            self._ticket.give_back()
