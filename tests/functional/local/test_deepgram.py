"""The speech recognition stand-in, driven by the real Deepgram plugin with sound that went through what calls do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, stt
from livekit.plugins import deepgram

from functional.local.sounds import RATE, WAYS, Samples, resampled
from live.caller import load_phrases
from live.livekit import Local

PHRASES = load_phrases()
WRITTEN = {
    "What is the weather like today": "What is the weather like today?",
    "Please tell me a short story": "Please tell me a short story.",
    "Thank you and goodbye": "Thank you and goodbye.",
}
WEATHER = "What is the weather like today"
OPTIONS = APIConnectOptions(max_retry=0, timeout=5)
Type = stt.SpeechEventType


def quiet(seconds: float) -> Samples:
    """The hiss of a microphone."""
    return np.random.default_rng(1).normal(0, 4, round(seconds * RATE)).astype(np.int16)


def in_a_room(*samples: Samples) -> Samples:
    return np.concatenate([quiet(0.4), *[part for each in samples for part in (each, quiet(0.8))]])


def ears(standins: Local, session: aiohttp.ClientSession, **options: object) -> deepgram.STT:
    where = {"base_url": standins.deepgram_base_url, "api_key": "a-key", "http_session": session}
    return deepgram.STT(**{"model": "nova-3", "language": "en", **where, **options})


def frames(samples: Samples, rate: int = RATE) -> list[rtc.AudioFrame]:
    step = rate // 50
    parts = [samples[start : start + step] for start in range(0, len(samples), step)]
    return [rtc.AudioFrame(part.tobytes(), rate, 1, len(part)) for part in parts]


async def events(
    model: deepgram.STT, samples: Samples, rate: int = RATE, utterances: int = 1
) -> AsyncIterator[stt.SpeechEvent]:
    """As far as the end of so many utterances: the plugin itself takes up to 5 s to end, for its keep-alive task."""
    async with model.stream(conn_options=OPTIONS) as stream:
        for frame in frames(samples, rate):
            stream.push_frame(frame)
        stream.end_input()
        async for event in stream:
            if event.type is not Type.RECOGNITION_USAGE:
                yield event
            utterances -= event.type is Type.END_OF_SPEECH
            if not utterances:
                return


async def heard(model: deepgram.STT, samples: Samples, rate: int = RATE, utterances: int = 1) -> list[tuple[Type, str]]:
    return [
        (event.type, event.alternatives[0].text if event.alternatives else "")
        async for event in events(model, samples, rate, utterances)
    ]


def finals(told: list[tuple[Type, str]]) -> list[str]:
    return [text for kind, text in told if kind is Type.FINAL_TRANSCRIPT]


@pytest.mark.parametrize("way", WAYS)
async def test_phrases_are_recognised_whatever_way_they_came(
    standins: Local, session: aiohttp.ClientSession, way: str
) -> None:
    sound = WAYS[way](in_a_room(*PHRASES.values()))
    told = await heard(ears(standins, session), sound, utterances=len(PHRASES))
    assert finals(told) == list(WRITTEN.values())
    [entry] = standins.seen("stt")
    assert entry["transcripts"] == list(WRITTEN.values())


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
async def test_any_sample_rate_will_do(standins: Local, session: aiohttp.ClientSession, rate: int) -> None:
    sound = resampled(in_a_room(PHRASES[WEATHER]), RATE, rate)
    told = await heard(ears(standins, session, sample_rate=rate), sound, rate)
    assert finals(told) == [WRITTEN[WEATHER]]


async def test_words_appear_one_after_the_other_between_begin_and_end(
    standins: Local, session: aiohttp.ClientSession
) -> None:
    told = await heard(ears(standins, session), in_a_room(PHRASES[WEATHER]))
    interim = [text for kind, text in told if kind is Type.INTERIM_TRANSCRIPT]
    assert told[0][0] is Type.START_OF_SPEECH
    assert [kind for kind, _ in told[-2:]] == [Type.FINAL_TRANSCRIPT, Type.END_OF_SPEECH]
    assert len(interim) >= 4
    assert all(WEATHER.startswith(text) for text in interim)
    assert [len(text) for text in interim] == sorted(len(text) for text in interim)


async def test_the_times_of_words_are_those_of_the_sound(standins: Local, session: aiohttp.ClientSession) -> None:
    all_events = [event async for event in events(ears(standins, session), in_a_room(PHRASES[WEATHER]))]
    [final] = [event.alternatives[0] for event in all_events if event.type is Type.FINAL_TRANSCRIPT]
    assert abs(final.start_time - 0.4) < 0.12
    assert abs(final.end_time - (0.4 + len(PHRASES[WEATHER]) / RATE)) < 0.12
    assert final.words is not None
    assert [str(word) for word in final.words] == WRITTEN[WEATHER].split()
    assert final.confidence > 0.85


async def test_capitals_and_marks_only_when_asked(standins: Local, session: aiohttp.ClientSession) -> None:
    sound = in_a_room(PHRASES[WEATHER])
    assert finals(await heard(ears(standins, session, punctuate=False), sound)) == [WEATHER.lower()]
    smart = ears(standins, session, punctuate=False, smart_format=True)
    assert finals(await heard(smart, sound)) == [WRITTEN[WEATHER]]


async def test_speech_that_is_in_no_phrase_book_is_told_by_its_length(
    standins: Local, session: aiohttp.ClientSession
) -> None:
    backwards = PHRASES[WEATHER][::-1][:RATE]
    [text] = finals(await heard(ears(standins, session), in_a_room(backwards)))
    assert text.startswith("Speech of ")
    assert abs(float(text.split()[2]) - 1.0) < 0.2


async def test_a_phrase_broken_off_gives_the_words_that_were_spoken(
    standins: Local, session: aiohttp.ClientSession
) -> None:
    half = PHRASES["Please tell me a short story"][: round(0.9 * RATE)]
    [text] = finals(await heard(ears(standins, session), in_a_room(half)))
    assert text.startswith("Please tell")
    assert "story" not in text


async def test_clicks_and_hiss_are_no_speech(standins: Local, session: aiohttp.ClientSession) -> None:
    click = np.full(300, 9000, np.int16)
    sound = np.concatenate([quiet(0.5), click, quiet(1.0), in_a_room(PHRASES[WEATHER])])
    told = await heard(ears(standins, session), sound)
    assert finals(told) == [WRITTEN[WEATHER]]
    assert [kind for kind, _ in told].count(Type.START_OF_SPEECH) == 1


async def test_a_recording_is_transcribed_at_once(standins: Local, session: aiohttp.ClientSession) -> None:
    sound = in_a_room(PHRASES[WEATHER], PHRASES["Thank you and goodbye"])
    told = await ears(standins, session).recognize(frames(sound), conn_options=OPTIONS)
    assert told.alternatives[0].text == "What is the weather like today? Thank you and goodbye."
    [entry] = standins.seen("stt")
    assert entry["live"] is False


async def test_what_was_asked_is_seen_but_no_key(standins: Local, session: aiohttp.ClientSession) -> None:
    await heard(ears(standins, session, language="en-GB", keyterm=["MindBot"]), in_a_room(PHRASES[WEATHER]))
    [entry] = standins.seen("stt")
    assert (entry["model"], entry["language"], entry["live"]) == ("nova-3", "en-GB", True)
    assert entry["params"]["keyterm"] == "MindBot"
    assert entry["params"]["interim_results"] == "true"
    assert "a-key" not in str(entry)


@pytest.mark.parametrize(
    ("query", "key", "status"),
    [
        ("", None, 401),
        ("", "Token ", 401),
        ("encoding=mulaw", "Token k", 400),
        ("sample_rate=12", "Token k", 400),
        ("utterance_end_ms=200&interim_results=true", "Token k", 400),
        ("punctuate=maybe", "Token k", 400),
    ],
)
async def test_what_deepgram_would_refuse_is_refused(
    standins: Local, session: aiohttp.ClientSession, query: str, key: str | None, status: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        headers = {} if key is None else {"Authorization": key}
        await session.ws_connect(f"{standins.deepgram_base_url}?{query}", headers=headers)
    assert caught.value.status == status


async def test_silence_after_an_utterance_is_told_and_closing_gives_the_sums(
    standins: Local, session: aiohttp.ClientSession
) -> None:
    url = f"{standins.deepgram_base_url}?utterance_end_ms=1000&interim_results=true&vad_events=true"
    async with session.ws_connect(url, headers={"Authorization": "Token k"}) as socket:
        await socket.send_str('{"type": "KeepAlive"}')
        await socket.send_bytes(np.concatenate([in_a_room(PHRASES[WEATHER]), quiet(0.7)]).tobytes())
        await socket.send_str('{"type": "CloseStream"}')
        told = [message.json() async for message in socket]
    assert [each["type"] for each in (told[0], *told[-3:])] == ["SpeechStarted", "Results", "UtteranceEnd", "Metadata"]
    assert told[-3]["is_final"]
    assert told[-3]["speech_final"]
    assert told[-1]["duration"] == pytest.approx(0.4 + len(PHRASES[WEATHER]) / RATE + 1.5, abs=0.05)


async def test_finalize_does_not_wait_for_a_pause(standins: Local, session: aiohttp.ClientSession) -> None:
    url = f"{standins.deepgram_base_url}?punctuate=true"
    async with session.ws_connect(url, headers={"Authorization": "Token k"}) as socket:
        await socket.send_bytes(np.concatenate([quiet(0.4), PHRASES[WEATHER]]).tobytes())
        await socket.send_str('{"type": "Finalize"}')
        told = await socket.receive_json(timeout=5)
    assert told["from_finalize"]
    assert told["channel"]["alternatives"][0]["transcript"] == WRITTEN[WEATHER]


async def test_a_dropped_websocket_is_an_error_to_the_plugin(standins: Local, session: aiohttp.ClientSession) -> None:
    standins.break_next("stt", "drop", after=0.5)
    async with ears(standins, session).stream(conn_options=OPTIONS) as stream:
        for frame in frames(in_a_room(PHRASES[WEATHER])):
            stream.push_frame(frame)
        with pytest.raises(APIError):
            async with asyncio.timeout(5):
                async for _ in stream:
                    pass


async def test_a_refused_websocket_is_an_error_to_the_plugin(standins: Local, session: aiohttp.ClientSession) -> None:
    standins.break_next("stt", "status", status=401)
    with pytest.raises(APIError) as caught:
        await heard(ears(standins, session), quiet(0.2))
    assert getattr(caught.value, "status_code", None) == 401
