"""Why LiveKit cannot be reached, in plain words; and how often it is tried."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from livekit.agents import APIStatusError

from mindbot_worker.runtime.registration import ConnectionLogFilter, WebsocketBackoff, backoff, describe, plain_url

URL = "ws://user:secret@livekit.example:7880/path?token=secret"
KEY = Mock(host="livekit.example", port=7880, ssl=None)


def handshake(status: int) -> Exception:
    return aiohttp.WSServerHandshakeError(Mock(real_url="x"), (), status=status, message="Invalid response status")


def os_error(number: int) -> Exception:
    return aiohttp.ClientConnectorError(KEY, OSError(number, "it failed"))


CASES = [
    (handshake(401), "livekit at ws://livekit.example:7880 refused the credentials (401)"),
    (handshake(403), "livekit at ws://livekit.example:7880 refused the credentials (403)"),
    (handshake(404), "livekit at ws://livekit.example:7880 answered 404 instead of opening a websocket"),
    (os_error(errno.ECONNREFUSED), "cannot reach livekit at ws://livekit.example:7880: connection refused"),
    (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "x")), "…: the host name cannot be resolved"),
    (TimeoutError(), "…: no answer in time"),
    (APIStatusError("x", status_code=1006), "livekit at ws://livekit.example:7880 closed the connection"),
    (aiohttp.WSMessageTypeError("x"), "closed the connection instead of registering the worker"),
    (RuntimeError("first\nsecond"), "…: first"),
    (None, "…: None"),
]


@pytest.mark.parametrize(("error", "said"), CASES, ids=lambda value: str(value)[:40])
def test_a_failure_is_described_in_one_plain_sentence(error: Exception, said: str) -> None:
    sentence = describe(error, URL)
    assert said.lstrip("…") in sentence and "secret" not in sentence and "\n" not in sentence


@pytest.mark.parametrize(
    ("url", "plain"), [(URL, "ws://livekit.example:7880"), ("", "://"), ("ws://x:notaport", "(not a url)")]
)
def test_a_url_is_shown_without_what_is_private(url: str, plain: str) -> None:
    assert plain_url(url) == plain


def test_livekits_warning_becomes_news_and_is_not_repeated_in_the_log() -> None:
    news: list[str] = []
    records = ConnectionLogFilter(URL, news.append)
    said = "failed to connect to livekit, retrying in 2s"
    retry = logging.LogRecord("livekit.agents", logging.WARNING, "", 0, said, None, None)
    retry.error = handshake(401)
    assert not records.filter(retry) and retry.levelno == logging.DEBUG
    assert news == ["livekit at ws://livekit.example:7880 refused the credentials (401)"]
    assert records.filter(logging.LogRecord("livekit.agents", logging.WARNING, "", 0, "anything else", None, None))
    assert len(news) == 1


def test_attempts_are_ever_further_apart_up_to_livekits_own_limit() -> None:
    assert [backoff(attempts) for attempts in (0, 1, 2, 3, 4, 5, 6, 100)] == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


class Session:
    """The little of aiohttp's session that is used."""

    def __init__(self) -> None:
        self.opened: list[Any] = []

    async def ws_connect(self, *_: Any, **__: Any) -> Any:
        self.opened.append(Mock(closed=False, close=self._close))
        return self.opened[-1]

    async def _close(self) -> None:
        self.opened[-1].closed = True


async def test_sockets_that_close_at_once_are_opened_ever_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("mindbot_worker.runtime.registration.asyncio.sleep", sleep)
    session = Session()
    connector = WebsocketBackoff(session, lambda: False)  # type: ignore[arg-type]
    for _ in range(6):
        await connector.ws_connect("ws://x")
    assert len(session.opened) == 6 and len(waited) == 4
    assert all(0.4 * backoff(n + 2) <= seconds <= backoff(n + 2) for n, seconds in enumerate(waited))


@pytest.mark.parametrize("still_connecting", [True, False])
async def test_a_server_that_never_answers_the_registration_is_left(
    monkeypatch: pytest.MonkeyPatch, still_connecting: bool
) -> None:
    monkeypatch.setattr("mindbot_worker.runtime.registration._REGISTER_TIMEOUT", 0.01)
    session = Session()
    await WebsocketBackoff(session, lambda: still_connecting).ws_connect("ws://x")  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert session.opened[0].closed is still_connecting
