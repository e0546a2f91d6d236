"""The speech stand-in, driven by the real OpenAI plugin, in every format it may ask for."""

from __future__ import annotations

import time

import aiohttp
import numpy as np
import pytest
from livekit.agents import APIConnectOptions
from livekit.plugins import openai

from live.livekit import Local

TEXT = "You said: what is the weather like today. That was turn two."
OPTIONS = APIConnectOptions(max_retry=0, timeout=5)
KEY = {"Authorization": "Bearer a-key"}


async def synthesised(standins: Local, text: str = TEXT, **options: str) -> np.ndarray:
    async with openai.TTS(base_url=standins.openai_base_url, api_key="a-key", **options) as voice:
        frames = [event.frame async for event in voice.synthesize(text, conn_options=OPTIONS)]
    return np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames]).astype(float) / 32768


def level(sound: np.ndarray) -> float:
    return 20 * float(np.log10(np.sqrt(np.mean(sound**2))))


@pytest.mark.parametrize("response_format", ["mp3", "wav", "pcm", "opus", "aac", "flac"])
@pytest.mark.parametrize("model", ["gpt-4o-mini-tts", "tts-1"])
async def test_speech_is_as_long_and_loud_as_speech_is(standins: Local, model: str, response_format: str) -> None:
    sound = await synthesised(standins, model=model, voice="fable", response_format=response_format)
    assert 3.0 < len(sound) / 24_000 < 5.0
    assert -24 < level(sound) < -16
    assert np.abs(sound).max() < 0.99
    [entry] = standins.seen("tts")
    assert (entry["model"], entry["voice"], entry["text"]) == (model, "fable", TEXT)
    assert entry["params"]["response_format"] == response_format


async def test_the_same_text_sounds_the_same_and_another_does_not(standins: Local) -> None:
    first, again = [await synthesised(standins, response_format="pcm") for _ in range(2)]
    other = await synthesised(standins, "Goodbye to all of you, then.", response_format="pcm")
    voiced = await synthesised(standins, voice="nova", response_format="pcm")
    assert np.array_equal(first, again)
    assert not np.allclose(first[:20_000], other[:20_000], atol=0.01)
    assert not np.allclose(first[:20_000], voiced[:20_000], atol=0.01)


@pytest.mark.parametrize("response_format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
async def test_sound_is_sent_while_it_is_made(
    standins: Local, session: aiohttp.ClientSession, response_format: str
) -> None:
    asked = {"model": "tts-1", "voice": "ash", "input": TEXT * 6, "response_format": response_format}
    began, sizes, first = time.monotonic(), [], 0.0
    async with session.post(f"{standins.openai_base_url}/audio/speech", json=asked, headers=KEY) as response:
        async for part in response.content.iter_any():
            first = first or time.monotonic() - began
            sizes.append(len(part))
    whole = time.monotonic() - began
    assert len(sizes) > 10
    assert sizes[0] < sum(sizes) / 5
    assert first < whole / 2, f"first sound after {first:.2f} of {whole:.2f} s"


async def test_empty_audio_is_sent_when_asked(standins: Local, session: aiohttp.ClientSession) -> None:
    standins.break_next("tts", "empty")
    asked = {"model": "tts-1", "voice": "ash", "input": TEXT}
    async with session.post(f"{standins.openai_base_url}/audio/speech", json=asked, headers=KEY) as response:
        assert (response.status, await response.read()) == (200, b"")


@pytest.mark.parametrize(
    "wrong",
    [{"input": "x" * 5000}, {"response_format": "midi"}, {"speed": 9}, {"voice": ""}, {"stream_format": "sse"}],
)
async def test_what_openai_would_refuse_is_refused(
    standins: Local, session: aiohttp.ClientSession, wrong: dict[str, object]
) -> None:
    asked = {"model": "tts-1", "voice": "ash", "input": "Hello"} | wrong
    async with session.post(f"{standins.openai_base_url}/audio/speech", json=asked, headers=KEY) as response:
        assert response.status == 400
