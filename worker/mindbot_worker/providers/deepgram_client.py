"""Opens Deepgram connections within a limit to how many all calls of this host have open at one time."""

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
    """A session for `deepgram.STT(http_session=…)`. Its connections are LiveKit's own session's, which closes them."""
    return cast(
        aiohttp.ClientSession, _LimitedSession(RequestGate(NAME, concurrency, meter), http_context.http_session)
    )


class _LimitedSession:
    """The part of an aiohttp session that the plugin uses; a websocket keeps its permit until it is closed."""

    def __init__(self, provider: RequestGate, session: Callable[[], aiohttp.ClientSession]) -> None:
        self._provider, self._inner = provider, session()

    @property
    def closed(self) -> bool:
        return self._inner.closed

    def post(self, url: str, **options: Any) -> Any:
        """Send a recording, without a limit. (MindBot never does.)"""
        return self._inner.post(url, **options)

    async def ws_connect(self, url: str, **options: Any) -> aiohttp.ClientWebSocketResponse:
        """Open a websocket; waits for a permit as long as the plugin does."""
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
    """Finish the request as the websocket is closed: the plugin closes each, whatever became of it."""
    close = socket.close

    async def close_and_finish(*args: Any, **options: Any) -> bool:
        try:
            return await close(*args, **options)
        finally:
            admitted.finish()

    socket.close = close_and_finish  # type: ignore[method-assign]
    return socket


def _refusal(refused: TooManyRequests, url: str) -> aiohttp.WSServerHandshakeError:
    """The error that Deepgram itself would cause."""
    where = URL(url)
    request = aiohttp.RequestInfo(where, "GET", CIMultiDictProxy(CIMultiDict()), where)
    return aiohttp.WSServerHandshakeError(request, (), status=429, message=str(refused))
