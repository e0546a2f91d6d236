"""`POST /v1/audio/speech`: synthesised sound, encoded and sent while it is being made."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from mindbot_worker.local import openai
from mindbot_worker.local.encoding import MEDIA_TYPES, encode
from mindbot_worker.local.faults import Faults, name_of, through, trip
from mindbot_worker.local.seen import Seen
from mindbot_worker.local.streaming import EVENT_STREAM, event, stream
from mindbot_worker.local.synth import Voice, speak

_LONGEST_INPUT = 4096
_FIRST_SOUND_SECONDS = 0.06
# OpenAI refuses server-sent events for these two.
_WITHOUT_EVENTS = {"tts-1", "tts-1-hd"}


class Speech:
    def __init__(self, seen: Seen, faults: Faults) -> None:
        self._seen, self._faults = seen, faults

    async def create(self, request: web.Request) -> web.StreamResponse:
        with self._seen.in_flight(request) as in_flight:
            return await self._answer(request, in_flight)

    async def _answer(self, request: web.Request, in_flight: int) -> web.StreamResponse:
        asked = await openai.body(request, "model", "input", "voice")
        wanted = _checked(asked)
        fault = self._faults.take("tts", asked["model"])
        params = {key: value for key, value in asked.items() if key not in ("model", "input", "voice")}
        said = {"voice": asked["voice"], "text": asked["input"]}
        self._seen.note("tts", model=asked["model"], in_flight=in_flight, params=params, fault=name_of(fault), **said)
        openai.check(fault)
        await trip(fault, 0)
        sound = through(fault, _encoded(asked, wanted))
        request_id = openai.new_id("req_")
        if asked.get("stream_format") == "sse":
            return await stream(request, EVENT_STREAM, _events(sound, asked["input"]), request_id)
        return await stream(request, MEDIA_TYPES[wanted], sound, request_id)


def _checked(asked: dict[str, Any]) -> str:
    """The response format. Raises Refused for what OpenAI would not accept either."""
    wanted = asked.get("response_format") or "mp3"
    if wanted not in MEDIA_TYPES:
        raise openai.Refused(400, f"Invalid value: '{wanted}'. Supported values are: {', '.join(MEDIA_TYPES)}.")
    if not isinstance(asked["input"], str) or len(asked["input"]) > _LONGEST_INPUT:
        raise openai.Refused(400, f"'input' is a string of at most {_LONGEST_INPUT} characters.")
    speed = asked.get("speed", 1.0)
    if not isinstance(speed, int | float) or not 0.25 <= speed <= 4.0:
        raise openai.Refused(400, "'speed' is from 0.25 to 4.0.")
    if asked.get("stream_format") == "sse" and asked["model"] in _WITHOUT_EVENTS:
        raise openai.Refused(400, f"'stream_format': 'sse' is not supported with {asked['model']}.")
    return str(wanted)


async def _encoded(asked: dict[str, Any], wanted: str) -> AsyncIterator[bytes]:
    """The bytes of each word as it is made; a word takes a few milliseconds of CPU, so others run in between."""
    await asyncio.sleep(_FIRST_SOUND_SECONDS)
    words = speak(asked["input"], Voice.named(str(asked["voice"])), asked.get("speed", 1.0))
    for piece in encode(words, wanted):
        if piece:
            yield piece
        await asyncio.sleep(0.002)


async def _events(sound: AsyncIterator[bytes], text: str) -> AsyncIterator[bytes]:
    count = 0
    async for piece in sound:
        count += 1
        yield event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
    tokens = len(text.split())
    usage = {"input_tokens": tokens, "output_tokens": count, "total_tokens": tokens + count}
    yield event({"type": "speech.audio.done", "usage": usage})
