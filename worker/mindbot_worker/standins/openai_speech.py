"""The stand-in for OpenAI's speech synthesis: `POST /v1/audio/speech`, encoded and sent while it is being made."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Protocol

import av
import numpy as np
from aiohttp import web

from mindbot_worker.standins import openai
from mindbot_worker.standins.faults import EVENT_STREAM, Faults, event, name_of, stream, through, trip
from mindbot_worker.standins.requests_seen import Seen
from mindbot_worker.standins.speech_synthesis import RATE, Sound, Voice, speak

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_CONTAINERS = {"mp3": ("mp3", "mp3"), "opus": ("ogg", "libopus"), "aac": ("adts", "aac"), "flac": ("flac", "flac")}
# Without these a muxer keeps up to a second to itself, or wants to go back and correct its header.
_OPTIONS = {"flush_packets": "1"}
_MUXER_OPTIONS = {"mp3": {"write_xing": "0"}, "opus": {"page_duration": "100000"}}
# A stream's length is not known when its header is sent.
_WAV_HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16, b"data", 0xFFFFFFFF),
)


class Encoder(Protocol):
    def header(self) -> bytes: ...
    def encode(self, sound: Sound) -> bytes: ...
    def finish(self) -> bytes: ...


def encode(pieces: Iterable[Sound], response_format: str) -> Iterator[bytes]:
    """The encoded bytes of each piece as soon as the codec gives them."""
    encoder: Encoder = Raw(response_format == "wav") if response_format in ("wav", "pcm") else Muxed(response_format)
    yield encoder.header()
    for piece in pieces:
        yield encoder.encode(piece)
    yield encoder.finish()


class Raw:
    """16-bit samples as they are, after a WAV header if one is wanted."""

    def __init__(self, with_header: bool) -> None:
        self._header = _WAV_HEADER if with_header else b""

    def header(self) -> bytes:
        return self._header

    def encode(self, sound: Sound) -> bytes:
        return (sound * 32767).astype("<i2").tobytes()

    def finish(self) -> bytes:
        return b""


class Muxed:
    """A codec of ffmpeg in its container."""

    def __init__(self, response_format: str) -> None:
        container, codec = _CONTAINERS[response_format]
        self._sink = _Sink()
        options = _OPTIONS | _MUXER_OPTIONS.get(response_format, {})
        self._container = av.open(self._sink, "w", format=container, options=options)
        stream = self._container.add_stream(codec, rate=RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        self._stream = stream
        self._resampler = av.AudioResampler(self._stream.format.name, "mono", RATE)
        self._samples = 0

    def header(self) -> bytes:
        return b""

    def encode(self, sound: Sound) -> bytes:
        if len(sound):
            frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, self._samples
            self._samples += len(sound)
            self._mux(frame)
        return self._sink.take()

    def finish(self) -> bytes:
        self._mux(None)
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()

    def _mux(self, frame: av.AudioFrame | None) -> None:
        for ready in self._resampler.resample(frame):
            self._container.mux(self._stream.encode(ready))


class _Sink:
    """A file that cannot seek: what the muxer writes is taken at once."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


_LONGEST_INPUT = 4096
_FIRST_SOUND_SECONDS = 0.06
# OpenAI refuses server-sent events for these two.
_WITHOUT_EVENTS = {"tts-1", "tts-1-hd"}


class Speech:
    """The route of speech synthesis."""

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
