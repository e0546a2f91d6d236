"""Posts one notice to a webhook: signed, tried again where that can help, and given up in the end."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mindbot_config.host.proxy import proxy_for
from mindbot_config.output import strict_json

if TYPE_CHECKING:
    import aiohttp

ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before the second attempt, and up to a quarter more; doubled for each further one."""
RETRY_AFTER_MAX = 60.0
"""A receiver may ask for so long a pause and no longer: other notices wait behind this one."""
TIMEOUT = 10.0
"""Seconds for one attempt."""
_TRY_AGAIN = frozenset({408, 425, 429})

SIGNATURE, TIMESTAMP = "X-Mindbot-Signature", "X-Mindbot-Timestamp"


class NotDelivered(Exception):
    """The notice did not arrive; the message is one plain sentence that names no more of the URL than its host."""


class _TryAgain(NotDelivered):
    """A further attempt may help, after `wait` seconds where the receiver asked for a pause."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where notices go, and what they are signed with; without a secret they are not."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)

    async def deliver(self, session: aiohttp.ClientSession, notice: Mapping[str, object]) -> None:
        """Raises NotDelivered once there is no point in going on."""
        import stamina  # with the first notice

        stamina.instrumentation.set_on_retry_hooks(())  # its own would write to stdout, past our log
        attempts = stamina.retry_context(
            on=_pause_before_next,
            attempts=ATTEMPTS,
            timeout=None,
            wait_initial=PAUSE,
            wait_max=PAUSE * 2**ATTEMPTS,
            wait_jitter=PAUSE / 4,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    await self._post(session, notice)
        except _TryAgain as exc:
            raise NotDelivered(f"{exc}, {ATTEMPTS} times") from exc

    async def _post(self, session: aiohttp.ClientSession, notice: Mapping[str, object]) -> None:
        import aiohttp

        body, headers = self._request(notice)
        send = session.post(self.url, data=body, headers=headers, allow_redirects=False, proxy=proxy_for(self.url))
        try:
            async with send as answer:
                if answer.status < 300:
                    return
                problem = f"{self._host} answered {answer.status}"
                if answer.status not in _TRY_AGAIN and answer.status < 500:
                    raise NotDelivered(problem)
                raise _TryAgain(problem, retry_after(answer.headers.get("Retry-After", ""), time.time()))
        except TimeoutError as exc:
            raise _TryAgain(f"{self._host} did not answer within {TIMEOUT:g} s") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise _TryAgain(f"cannot reach {self._host}: {type(exc).__name__}") from exc

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or "the webhook"

    def _request(self, notice: Mapping[str, object]) -> tuple[bytes, dict[str, str]]:
        """The time of sending is in the signed body too, so that nobody can send an old notice as a new one."""
        sent = int(time.time())
        body = strict_json.dump_bytes({**notice, "sent": sent})
        headers = {"Content-Type": "application/json", TIMESTAMP: str(sent)}
        if self.secret:
            headers[SIGNATURE] = sign(body, self.secret)
        return body, headers


def _pause_before_next(exc: Exception) -> bool | float:
    """Whether to try again; as seconds where the receiver has said when."""
    return isinstance(exc, _TryAgain) and (exc.wait or True)


def sign(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def retry_after(value: str, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110: seconds or a date), 0 where it makes no sense."""
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_MAX)
