"""The stand-in for OpenAI's API: who may ask, its error format, its models, and its routes."""

from __future__ import annotations

import json
import uuid
from typing import Any

from aiohttp import web

from mindbot_worker.local.faults import EMPTY, STATUS, Fault

MODELS = ("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "gpt-4o-mini-tts", "tts-1", "tts-1-hd")
_TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 429: "insufficient_quota"}


class Refused(Exception):
    """A request this API would refuse, with what it would answer."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
    """Asks for a key and turns what was refused into OpenAI's error format."""
    try:
        if request.headers.get("Authorization", "").removeprefix("Bearer ").strip() == "":
            raise Refused(401, "You didn't provide an API key.")
        response: web.StreamResponse = await handler(request)
    except Refused as refused:
        return _error(refused)
    except web.HTTPException as exc:
        return _error(Refused(exc.status, exc.reason))
    return response


def check(fault: Fault | None) -> None:
    """Raises what a `status` fault asks for."""
    if fault is not None and fault.fault == STATUS:
        raise Refused(fault.status, f"{fault.status} as asked by POST /faults", fault.headers())


def is_empty(fault: Fault | None) -> bool:
    return fault is not None and fault.fault == EMPTY


async def body(request: web.Request, *required: str) -> dict[str, Any]:
    try:
        fields = await request.json()
    except ValueError:
        raise Refused(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(fields, dict):
        raise Refused(400, "The body is not a JSON object.")
    for name in required:
        if not fields.get(name):
            raise Refused(400, f"Missing required parameter: '{name}'.")
    return fields


async def models(_: web.Request) -> web.Response:
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "local"} for name in MODELS]
    return web.json_response({"object": "list", "data": listed})


def new_id(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def _error(refused: Refused) -> web.Response:
    kind = _TYPES.get(refused.status, "server_error" if refused.status >= 500 else "invalid_request_error")
    text = json.dumps({"error": {"message": refused.message, "type": kind, "param": None, "code": None}})
    headers = refused.headers | {"x-request-id": new_id("req_")}
    return web.Response(status=refused.status, text=text, content_type="application/json", headers=headers)
