"""Opens OpenAI clients, within a limit to the requests that all calls of this host make at one time."""

from __future__ import annotations

import functools
import os
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai

from mindbot_worker.providers.request_gate import AdmittedRequest, RequestGate, TooManyRequests
from mindbot_worker.providers.usage_meter import UsageMeter

NAME = "openai"

_TIMEOUT = httpx2.Timeout(connect=15.0, read=5.0, write=5.0, pool=5.0)
_LIMITS = httpx2.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=120)
"""Both as in LiveKit's OpenAI plugin."""
_PATIENCE = 5.0
_WAITS = ("connect", "read", "write")
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,100})"')
"""In a request's body. In what was said, as JSON writes it, the quotation marks have a backslash."""


def open_client(
    *, api_key: str, base_url: str | None, concurrency: int, meter: UsageMeter, patience: float = _PATIENCE
) -> openai.AsyncClient:
    """A client, for the caller to close. Retries are the session's: it knows how long a caller can wait.

    A request fails when nothing came for `patience` seconds. (LiveKit's TTS plugin would wait 30 s for each piece.)
    """
    provider = RequestGate(NAME, concurrency, meter)
    client = openai.AsyncClient(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        http_client=_LimitedClient(
            provider, patience, verify=tls_context(), timeout=_TIMEOUT, limits=_LIMITS, follow_redirects=True
        ),
    )
    meter.name_host(client.base_url.netloc.decode(), NAME)
    return client


def tls_context() -> ssl.SSLContext:
    """One TLS context for all clients of this process: to read the bundle of CAs takes 20 ms of CPU.

    Like the contexts that httpx2 would make for each client, it does not notice a bundle that is replaced.
    """
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _tls_context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx2.create_ssl_context()


class _LimitedClient(httpx2.AsyncClient):
    """An HTTP client whose requests keep their permit until the response has been read or dropped."""

    def __init__(self, provider: RequestGate, patience: float, **options: Any) -> None:
        super().__init__(**options)
        self._provider, self._patience = provider, patience

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        allowed = request.extensions.get("timeout", {})
        try:
            admitted = await self._provider.admit(_model_of(request), allowed.get("pool"))
        except TimeoutError:
            raise httpx2.PoolTimeout("too many requests of this host before this one", request=request) from None
        except TooManyRequests as exc:
            return _refusal(exc, request)
        request.extensions["timeout"] = {**allowed, **{name: self._no_more_than(allowed.get(name)) for name in _WAITS}}
        try:
            response = await super().send(request, stream=stream, **options)
        except BaseException as exc:
            if isinstance(exc, Exception):
                admitted.failed()
            admitted.finish()
            raise
        if request.method != "GET":  # the plugins warm a connection up with one, and do not look at its answer
            admitted.answered(response.status_code, response.headers)
        if stream:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _ReleasingStream(response.stream, admitted)
        else:
            admitted.finish()
        return response

    def _no_more_than(self, seconds: float | None) -> float:
        return self._patience if seconds is None else min(seconds, self._patience)


class _ReleasingStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, admitted: AdmittedRequest) -> None:
        self._inner, self._admitted = inner, admitted

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inner.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            self._admitted.finish()


def _model_of(request: httpx2.Request) -> str:
    try:
        found = _MODEL.search(request.content)
    except httpx2.RequestNotRead:  # an upload
        return ""
    return found[1].decode(errors="replace") if found else ""


def _refusal(refused: TooManyRequests, request: httpx2.Request) -> httpx2.Response:
    """The response that the provider itself would give."""
    error = {"message": str(refused), "type": "rate_limit_exceeded", "param": None, "code": None}
    headers = {"retry-after": f"{refused.seconds:.1f}"}
    return httpx2.Response(429, headers=headers, json={"error": error}, request=request)
