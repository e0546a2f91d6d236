"""Posts one notice to a webhook: signed, tried again where that can help, and given up in the end."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import aiohttp

ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before the second attempt, give or take a quarter; doubled for each further one."""
RETRY_AFTER_MAX = 60.0
"""A receiver may ask for so long a pause and no longer: other notices wait behind this one."""
TIMEOUT = 10.0
"""Seconds for one attempt."""
_TRY_AGAIN = frozenset({408, 425, 429})

SIGNATURE, TIMESTAMP = "X-Mindbot-Signature", "X-Mindbot-Timestamp"


class NotDelivered(Exception):
    """The notice did not arrive; the message is one plain sentence that names no more of the URL than its host."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where notices go, and what they are signed with; without a secret they are not."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)

    async def deliver(self, session: aiohttp.ClientSession, notice: Mapping[str, object]) -> None:
        """Raises NotDelivered once there is no point in going on."""
        import aiohttp

        for attempt in range(ATTEMPTS):
            wait = PAUSE * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311
            try:
                body, headers = self._request(notice)
                async with session.post(self.url, data=body, headers=headers, allow_redirects=False) as answer:
                    if answer.status < 300:
                        return
                    problem = f"{self._host} answered {answer.status}"
                    if answer.status not in _TRY_AGAIN and answer.status < 500:
                        raise NotDelivered(problem)
                    wait = max(wait, retry_after(answer.headers.get("Retry-After", ""), time.time()))
            except TimeoutError:
                problem = f"{self._host} did not answer within {TIMEOUT:g} s"
            except (aiohttp.ClientError, OSError) as exc:
                problem = f"cannot reach {self._host}: {type(exc).__name__}"
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(wait)
        raise NotDelivered(f"{problem}, {ATTEMPTS} times")

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or "the webhook"

    def _request(self, notice: Mapping[str, object]) -> tuple[bytes, dict[str, str]]:
        """The time of sending is in the signed body too, so that nobody can send an old notice as a new one."""
        sent = int(time.time())
        body = json.dumps({**notice, "sent": sent}, default=str).encode()
        headers = {"Content-Type": "application/json", TIMESTAMP: str(sent)}
        if self.secret:
            headers[SIGNATURE] = sign(body, self.secret)
        return body, headers


def sign(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def retry_after(value: str, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110: seconds or a date), 0 where it makes no sense."""
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_MAX)
