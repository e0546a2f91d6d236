"""Encoding of sound while it is being made, for every response format of OpenAI's speech endpoint."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Protocol

import av
import numpy as np

from mindbot_worker.local.synth import RATE, Sound

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
