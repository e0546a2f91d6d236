"""Every answer of the control socket and of the HTTP endpoint leaves the daemon masked, and as strict JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from mindbot_config.output import strict_json
from mindbot_config.output.redaction import Redactor

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NOT_STRICT = ("NaN", "Infinity")
"""What Python writes for numbers that JSON lacks."""


def masking(redactor: Callable[[], Redactor]) -> Any:
    """A middleware; `redactor` gives the one that is in force. It goes in front of all others, so that what they
    answer is masked too. Streams are not: whoever writes to one masks what it writes.
    """

    @web.middleware
    async def mask(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except web.HTTPException as exc:
            _mask(exc, redactor())
            raise
        if isinstance(answer, web.Response):
            _mask(answer, redactor())
        return answer

    return mask


def _mask(answer: web.Response, redact: Redactor) -> None:
    """Replace the body, if it holds a secret or is not strict. Only texts are masked: JSON stays JSON."""
    try:
        text = answer.body.decode() if isinstance(answer.body, bytes) else ""
    except UnicodeDecodeError:  # an archive or a picture
        return
    masked = redact(text)
    if answer.content_type == "application/json":
        if masked != text or any(word in text for word in _NOT_STRICT):
            answer.body = strict_json.dump_bytes(redact.clean(json.loads(text)))
    elif masked != text:
        answer.body = masked.encode()
