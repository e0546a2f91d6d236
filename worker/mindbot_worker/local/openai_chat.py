"""`POST /v1/chat/completions`: an answer that repeats what was said, streamed word by word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from mindbot_worker.local import openai
from mindbot_worker.local.faults import Fault, Faults, name_of, through, trip
from mindbot_worker.local.seen import Seen
from mindbot_worker.local.streaming import EVENT_STREAM, event, stream

GREETING = "Hello, this is the local stand-in. How can I help you?"
_FIRST_WORD_SECONDS, _WORD_SECONDS = 0.06, 0.015


class Chat:
    def __init__(self, seen: Seen, faults: Faults) -> None:
        self._seen, self._faults = seen, faults

    async def complete(self, request: web.Request) -> web.StreamResponse:
        with self._seen.in_flight(request) as in_flight:
            return await self._answer(request, in_flight)

    async def _answer(self, request: web.Request, in_flight: int) -> web.StreamResponse:
        asked = await openai.body(request, "model", "messages")
        messages = _messages(asked)
        fault = self._faults.take("llm", asked["model"])
        params = {key: value for key, value in asked.items() if key not in ("model", "messages", "tools")}
        said = {"messages": len(messages), "text": _last_said(messages)}
        self._seen.note("llm", model=asked["model"], in_flight=in_flight, params=params, fault=name_of(fault), **said)
        openai.check(fault)
        await trip(fault, 0)
        answer = _Answer(asked, messages, empty=openai.is_empty(fault))
        if asked.get("stream"):
            return await stream(request, EVENT_STREAM, answer.events(fault), openai.new_id("req_"))
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
        self._base = {"id": openai.new_id("chatcmpl-"), "created": int(time.time()), "model": asked["model"]}

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
        raise openai.Refused(400, "Invalid type for 'messages': expected an array of objects.")
    return messages


def _last_said(messages: list[dict[str, Any]]) -> str:
    return next((_text(message) for message in reversed(messages) if message.get("role") == "user"), "")


def _text(message: dict[str, Any]) -> str:
    """The text of a message, whose content is a string or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
