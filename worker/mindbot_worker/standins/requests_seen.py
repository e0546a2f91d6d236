"""Records what the stand-ins were asked, for tests to read at `GET /seen`. Credentials are never recorded."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

_KEPT = 1000
_TEXT_KEPT = 500
_TEXTS_KEPT = 50


class Seen:
    """The latest requests, and those that are being answered."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._open: dict[int, web.Request] = {}  # a request has no hash

    @contextlib.contextmanager
    def in_flight(self, request: web.Request) -> Iterator[int]:
        """How many requests are being answered with this one, whose clients are still there."""
        self._open[id(request)] = request
        try:
            yield sum(each.transport is not None and not each.transport.is_closing() for each in self._open.values())
        finally:
            del self._open[id(request)]

    def note(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Records one request and returns its entry, to which a long one may add as it goes."""
        entry = {"kind": kind, "at": time.time()} | {key: _short(value) for key, value in fields.items()}
        self._entries.append(entry)
        return entry

    async def show(self, request: web.Request) -> web.Response:
        """GET /seen: the entries, oldest first; `?kind=llm` for one kind only."""
        kind = request.query.get("kind")
        return web.json_response([entry for entry in self._entries if kind in (None, entry["kind"])])

    async def forget(self, _: web.Request) -> web.Response:
        self._entries.clear()
        return web.json_response([])


def add_text(entry: dict[str, Any], key: str, text: str) -> None:
    """Adds to a list in an entry, which stays bounded however long the connection lives."""
    texts: list[str] = entry.setdefault(key, [])
    texts.append(text[:_TEXT_KEPT])
    del texts[:-_TEXTS_KEPT]


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_TEXT_KEPT]
    if isinstance(value, Mapping):
        return {key: _short(each) for key, each in value.items()}
    return value
