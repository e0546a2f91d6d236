"""Admits each request to a provider: within the concurrency limit, after any rate limit pause, and counted."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from mindbot_worker.protocol import heartbeat
from mindbot_worker.providers.concurrency_limit import ConcurrencyLimit, Permit
from mindbot_worker.providers.rate_limit_pause import RateLimitPause, asks_to_wait, retry_after
from mindbot_worker.providers.usage_meter import UsageMeter

RATE_LIMITED = "provider.rate_limited"

PATIENCE = 3.0
"""Seconds of a pause that a request waits for. A longer pause fails it at once: a fallback or an apology is better for
the caller than silence."""

logger = logging.getLogger(__name__)


class TooManyRequests(Exception):
    """The provider has asked to be left alone for `seconds` more; the request was not sent."""

    def __init__(self, provider: str, seconds: float) -> None:
        super().__init__(f"{provider} has asked for fewer requests; not sent, try again in {seconds:.0f} s")
        self.seconds = seconds


class RequestGate:
    """Admits the requests of one call to one provider: `concurrency` at a time, of all calls of this daemon."""

    def __init__(self, name: str, concurrency: int, meter: UsageMeter) -> None:
        directory = os.environ.get(heartbeat.RUNTIME_DIR)
        self._directory = Path(directory) if directory else None
        self.name, self._meter = name, meter
        self._limit = ConcurrencyLimit(self._directory, name, concurrency, meter)
        self._pauses: dict[str, RateLimitPause] = {}

    async def admit(self, model: str, within: float | None) -> AdmittedRequest:
        """Wait until a request may be made. Raises TimeoutError after `within` seconds, and TooManyRequests."""
        until = None if within is None else time.monotonic() + within
        pause = self._pause_of(model)
        self._refuse_if_long(pause)  # nor wait for a permit then
        permit = await self._limit.take(within)
        try:
            await self._wait_out(pause, until)
        except BaseException:
            permit.give_back()
            raise
        self._meter.count(self.name, requests=1)
        return AdmittedRequest(self.name, model, permit, pause, self._meter)

    def _pause_of(self, model: str) -> RateLimitPause:
        """The pause for a model: providers limit the requests to each."""
        if model not in self._pauses:
            self._pauses[model] = RateLimitPause(self._directory, f"{self.name}-{model}")
        return self._pauses[model]

    async def _wait_out(self, pause: RateLimitPause, until: float | None) -> None:
        """Wait until the pause is over. The permit is held meanwhile, which keeps the order."""
        while seconds := self._refuse_if_long(pause):
            if until is not None and time.monotonic() + seconds > until:
                raise TimeoutError
            self._meter.waited(self.name, seconds, long=seconds > 1)
            await asyncio.sleep(seconds)

    def _refuse_if_long(self, pause: RateLimitPause) -> float:
        if (seconds := pause.remaining()) > PATIENCE:
            self._meter.count(self.name, held=1)
            raise TooManyRequests(self.name, seconds)
        return seconds


class AdmittedRequest:
    """One request, from when it may be sent until `finish`, which may be called twice."""

    def __init__(self, provider: str, model: str, permit: Permit, pause: RateLimitPause, meter: UsageMeter) -> None:
        self._provider, self._model, self._permit, self._pause, self._meter = provider, model, permit, pause, meter
        self._began = time.monotonic()

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        if not asks_to_wait(status, headers):
            if status >= 400:
                self.failed()
            self._pause.accepted(self._began)
            return
        self._meter.count(self._provider, rate_limited=1)
        asked = retry_after(headers)
        if (seconds := self._pause.refused(self._began, asked)) is not None:
            logger.warning(
                "a provider asks for fewer requests",
                extra={
                    "event": RATE_LIMITED,
                    "provider": self._provider,
                    "model": self._model,
                    "status": status,
                    "seconds": round(seconds, 1),
                    "asked": asked is not None,
                },
            )

    def failed(self) -> None:
        """There was no answer, or none of use."""
        self._meter.count(self._provider, errors=1)

    def finish(self) -> None:
        self._permit.give_back()
