"""The stand-in for OpenAI's API: access, error format, list of models, and chat completions."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from mindbot_worker.standins.faults import (
    EMPTY,
    EVENT_STREAM,
    STATUS,
    Fault,
    Faults,
    event,
    name_of,
    stream,
    through,
    trip,
)
from mindbot_worker.standins.requests_seen import Seen

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


GREETING = "Hello, this is the local stand-in. How can I help you?"
_FIRST_WORD_SECONDS, _WORD_SECONDS = 0.06, 0.015


class Chat:
    """The route of chat completions."""

    def __init__(self, seen: Seen, faults: Faults) -> None:
        self._seen, self._faults = seen, faults

    async def complete(self, request: web.Request) -> web.StreamResponse:
        with self._seen.in_flight(request) as in_flight:
            return await self._answer(request, in_flight)

    async def _answer(self, request: web.Request, in_flight: int) -> web.StreamResponse:
        asked = await body(request, "model", "messages")
        messages = _messages(asked)
        fault = self._faults.take("llm", asked["model"])
        params = {key: value for key, value in asked.items() if key not in ("model", "messages", "tools")}
        said = {"messages": len(messages), "text": _last_said(messages)}
        self._seen.note("llm", model=asked["model"], in_flight=in_flight, params=params, fault=name_of(fault), **said)
        check(fault)
        await trip(fault, 0)
        answer = _Answer(asked, messages, empty=is_empty(fault))
        if asked.get("stream"):
            return await stream(request, EVENT_STREAM, answer.events(fault), new_id("req_"))
        await asyncio.sleep(_FIRST_WORD_SECONDS)
        return web.json_response(answer.whole())


def reply(messages: list[dict[str, Any]]) -> str:
    """What the stand-in says: the last thing it was told, and how many times it was told something."""
    said = _last_said(messages)
    turns = sum(message.get("role") == "user" for message in messages)
    return f"You said: {said.rstrip('.?! ')}. That was turn {turns}." if said else GREETING


class _Answer:
    """One answer in the shape of the API, whole or in pieces."""

    def __init__(self, asked: dict[str, Any], messages: list[dict[str, Any]], empty: bool) -> None:
        words = [] if empty else reply(messages).split(" ")
        limit = asked.get("max_completion_tokens") or asked.get("max_tokens")
        self._words = words[: limit if isinstance(limit, int) else None]
        self._reason = "length" if len(self._words) < len(words) else "stop"
        self._prompt_tokens = sum(len(_text(message).split()) for message in messages)
        self._with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        self._base = {"id": new_id("chatcmpl-"), "created": int(time.time()), "model": asked["model"]}

    def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": " ".join(self._words), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason}
        return {**self._base, "object": "chat.completion", "choices": [choice], "usage": self._usage()}

    async def events(self, fault: Fault | None) -> AsyncIterator[bytes]:
        yield self._delta({"role": "assistant", "content": "", "refusal": None})
        async for word in through(fault, self._spoken()):
            yield self._delta({"content": word})
        yield self._delta({}, self._reason)
        if self._with_usage:
            yield self._chunk([], self._usage())
        yield event("[DONE]")

    async def _spoken(self) -> AsyncIterator[str]:
        for index, word in enumerate(self._words):
            await asyncio.sleep(_WORD_SECONDS if index else _FIRST_WORD_SECONDS)
            yield f" {word}" if index else word

    def _delta(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}], None)

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> bytes:
        chunk = {**self._base, "object": "chat.completion.chunk", "choices": choices}
        return event({**chunk, "usage": usage} if self._with_usage else chunk)

    def _usage(self) -> dict[str, int]:
        """A word is a token here."""
        asked, given = self._prompt_tokens, len(self._words)
        return {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}


def _messages(asked: dict[str, Any]) -> list[dict[str, Any]]:
    messages = asked["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Refused(400, "Invalid type for 'messages': expected an array of objects.")
    return messages


def _last_said(messages: list[dict[str, Any]]) -> str:
    return next((_text(message) for message in reversed(messages) if message.get("role") == "user"), "")


def _text(message: dict[str, Any]) -> str:
    """The text of a message, whose content is a string or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
