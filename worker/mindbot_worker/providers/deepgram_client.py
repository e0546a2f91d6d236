"""Deepgram connections with a limit to how many all calls of this host have open at one time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
from livekit.agents.utils import http_context
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mindbot_worker.providers.request_gate import AdmittedRequest, RequestGate, TooManyRequests
from mindbot_worker.providers.usage_meter import UsageMeter

NAME = "deepgram"


def open_session(*, concurrency: int, meter: UsageMeter) -> aiohttp.ClientSession:
    """For `deepgram.STT(http_session=…)`. The connections are those of LiveKit's own session, which closes them."""
    return cast(
        aiohttp.ClientSession, _LimitedSession(RequestGate(NAME, concurrency, meter), http_context.http_session)
    )


class _LimitedSession:
    """What the plugin uses of an aiohttp session; an open websocket keeps its place."""

    def __init__(self, provider: RequestGate, session: Callable[[], aiohttp.ClientSession]) -> None:
        self._provider, self._inner = provider, session()

    @property
    def closed(self) -> bool:
        return self._inner.closed

    def post(self, url: str, **options: Any) -> Any:
        """A recording, which MindBot never sends: for the sake of others who use the plugin so."""
        return self._inner.post(url, **options)

    async def ws_connect(self, url: str, **options: Any) -> aiohttp.ClientWebSocketResponse:
        """Waits as long as the caller does."""
        model = parse_qs(urlsplit(url).query).get("model", [""])[0]
        try:
            admitted = await self._provider.admit(model, within=None)
        except TooManyRequests as exc:
            raise _refusal(exc, url) from None
        try:
            socket = await self._inner.ws_connect(url, **options)
        except BaseException as exc:
            if isinstance(exc, aiohttp.WSServerHandshakeError):
                admitted.answered(exc.status, exc.headers or {})
            elif isinstance(exc, Exception):
                admitted.failed()
            admitted.finish()
            raise
        admitted.answered(101, {})
        return _releasing(socket, admitted)


def _releasing(socket: aiohttp.ClientWebSocketResponse, admitted: AdmittedRequest) -> aiohttp.ClientWebSocketResponse:
    """The plugin closes each websocket, whatever became of it."""
    close = socket.close

    async def close_and_finish(*args: Any, **options: Any) -> bool:
        try:
            return await close(*args, **options)
        finally:
            admitted.finish()

    socket.close = close_and_finish  # type: ignore[method-assign]
    return socket


def _refusal(refused: TooManyRequests, url: str) -> aiohttp.WSServerHandshakeError:
    """What Deepgram itself would answer."""
    where = URL(url)
    request = aiohttp.RequestInfo(where, "GET", CIMultiDictProxy(CIMultiDict()), where)
    return aiohttp.WSServerHandshakeError(request, (), status=429, message=str(refused))
