"""Models that step in for one that fails, with the real plugins and adapters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import APIStatusError, llm
from livekit.agents.stt import RecognizeStream, SpeechEventType
from livekit.agents.utils import http_context
from livekit.plugins import deepgram, openai

from functional.local.test_deepgram import PHRASES, WEATHER, WRITTEN, frames, in_a_room
from live.livekit import Local
from mindbot_worker.providers import fallbacks
from mindbot_worker.providers.deepgram_client import open_session
from mindbot_worker.providers.openai_client import open_client
from mindbot_worker.providers.usage_meter import UsageMeter as Meter


def errors_of(model: Any) -> list[Any]:
    errors: list[Any] = []
    model.on("error", errors.append)
    return errors


@contextlib.asynccontextmanager
async def ears(standins: Local, *models: str) -> AsyncIterator[fallbacks.SpeechRecognition]:
    async with http_context.open():
        session = open_session(concurrency=5, meter=Meter())

        def make(model: str) -> deepgram.STT:
            return deepgram.STT(model=model, base_url=standins.deepgram_base_url, api_key="a-key", http_session=session)

        hearing = fallbacks.speech_recognition(models, make)
        yield hearing
        await hearing.aclose()


async def speak_into(stream: RecognizeStream) -> None:
    """At the speed of speech: what is said while a model fails for good is lost with it."""
    for frame in frames(in_a_room(PHRASES[WEATHER])):
        stream.push_frame(frame)
        await asyncio.sleep(frame.duration)


async def heard(model: fallbacks.SpeechRecognition) -> str:
    async with model.stream() as stream:
        speaking = asyncio.create_task(speak_into(stream))
        async with asyncio.timeout(20):
            async for event in stream:
                if event.type is SpeechEventType.FINAL_TRANSCRIPT:
                    await speaking
                    return event.alternatives[0].text
    raise AssertionError("nothing was heard")


def mind(standins: Local, *models: str, meter: Meter | None = None) -> fallbacks.LanguageModel:
    client = open_client(api_key="a-key", base_url=standins.openai_base_url, concurrency=5, meter=meter or Meter())
    return fallbacks.language_model(models, lambda model: openai.LLM(model=model, client=client))


async def answer(model: fallbacks.LanguageModel) -> str:
    context = llm.ChatContext()
    context.add_message(role="user", content="Hello")
    async with model.chat(chat_ctx=context) as stream:
        return "".join([chunk.delta.content or "" async for chunk in stream if chunk.delta])


def models_of(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["model"] for entry in entries]


async def test_one_model_alone_or_twice_is_no_chain(standins: Local, host: Path) -> None:
    async with ears(standins, "nova-3") as alone, ears(standins, "nova-3", "nova-3") as twice:
        assert isinstance(alone, deepgram.STT) and isinstance(twice, deepgram.STT)
    assert isinstance(mind(standins, "gpt"), openai.LLM)


async def test_ears_that_fail_are_replaced_before_the_first_word(
    standins: Local, host: Path, caplog: pytest.LogCaptureFixture
) -> None:
    standins.break_next("stt", "status", status=500, times=2)
    async with ears(standins, "nova-3", "nova-2") as hearing:
        errors = errors_of(hearing)
        with caplog.at_level(logging.INFO):
            assert await heard(hearing) == WRITTEN[WEATHER]
    models = models_of(standins.seen("stt"))
    assert models[:2] == ["nova-3"] * 2 and set(models[2:4]) == {"nova-2", "nova-3"}  # and the first is tried again
    assert [(error.type, error.recoverable) for error in errors] == [("stt_error", True)] * 2
    told = [record.__dict__ for record in caplog.records if record.__dict__.get("event") == fallbacks.FALLBACK]
    assert [(each["kind"], each["model"], each["next"]) for each in told] == [("stt", "nova-3", "nova-2")]


async def test_one_error_does_not_change_the_model(standins: Local, host: Path) -> None:
    standins.break_next("stt", "status", status=500)
    async with ears(standins, "nova-3", "nova-2") as hearing:
        assert await heard(hearing) == WRITTEN[WEATHER]
    assert models_of(standins.seen("stt")) == ["nova-3", "nova-3"]


async def test_without_a_fault_a_chain_hears_what_one_model_does_and_counts_it_once(
    standins: Local, host: Path
) -> None:
    async with ears(standins, "nova-3", "nova-2") as hearing:
        used: list[Any] = []
        hearing.on("metrics_collected", used.append)
        assert await heard(hearing) == WRITTEN[WEATHER]
    assert models_of(standins.seen("stt")) == ["nova-3"]
    assert len([each for each in used if each.audio_duration]) <= 2


async def test_a_mind_whose_limit_is_reached_is_replaced_at_once(standins: Local, host: Path) -> None:
    standins.break_next("llm", "status", status=429, retry_after=30)
    meter = Meter()
    thinking = mind(standins, "gpt", "gpt-mini", meter=meter)
    errors = errors_of(thinking)
    async with asyncio.timeout(3):
        assert "Hello" in await answer(thinking)
    await thinking.aclose()
    assert models_of(standins.seen("llm")) == ["gpt", "gpt-mini"]
    assert {(error.type, error.recoverable) for error in errors} == {("llm_error", True)}
    assert meter.totals()["openai"]["rate_limited"] == 1


async def test_a_chain_in_which_all_fail_says_so_as_one_model_does(standins: Local, host: Path) -> None:
    standins.break_next("llm", "status", status=500, times=20)
    thinking = mind(standins, "gpt", "gpt-mini")
    errors = errors_of(thinking)
    with pytest.raises(Exception, match=r"failed"):
        await answer(thinking)
    await thinking.aclose()
    assert [error.recoverable for error in errors].count(False) == 1


async def test_a_mouth_that_fails_is_replaced(standins: Local, host: Path) -> None:
    client = open_client(api_key="a-key", base_url=standins.openai_base_url, concurrency=5, meter=Meter())
    models = ("gpt-4o-mini-tts", "tts-1")
    mouth = fallbacks.speech_synthesis(models, lambda model: openai.TTS(model=model, client=client))
    standins.break_next("tts", "status", status=500, times=2)
    async with asyncio.timeout(5), mouth.synthesize("Good day.") as stream:
        assert [event async for event in stream]
    assert models_of(standins.seen("tts"))[:3] == ["gpt-4o-mini-tts", "gpt-4o-mini-tts", "tts-1"]
    await mouth.aclose()


async def test_a_key_that_is_refused_is_not_shown_to_the_next_model(standins: Local, host: Path) -> None:
    standins.break_next("llm", "status", status=401, times=2)
    thinking = mind(standins, "gpt", "gpt-mini")
    errors = errors_of(thinking)
    for _ in range(2):
        with pytest.raises(APIStatusError) as raised:
            await answer(thinking)
        assert raised.value.status_code == 401
    assert models_of(standins.seen("llm")) == ["gpt", "gpt"]
    assert [error.recoverable for error in errors] == [False, False]
    assert "Hello" in await answer(thinking)
    assert models_of(standins.seen("llm")) == ["gpt"] * 3
    await thinking.aclose()


async def test_ears_whose_key_is_refused_fail_at_once_and_as_one(
    standins: Local, host: Path, caplog: pytest.LogCaptureFixture
) -> None:
    standins.break_next("stt", "status", status=401, times=2)
    async with ears(standins, "nova-3", "nova-2") as hearing:
        errors = errors_of(hearing)
        for _ in range(2):
            async with asyncio.timeout(3):
                with pytest.raises(APIStatusError):
                    await heard(hearing)
        assert models_of(standins.seen("stt")) == ["nova-3", "nova-3"]
        assert [(error.error.status_code, error.recoverable) for error in errors] == [(401, False)] * 2
        assert await heard(hearing) == WRITTEN[WEATHER]
    assert models_of(standins.seen("stt")) == ["nova-3"] * 3
    assert not [each for each in caplog.records if each.__dict__.get("event") == fallbacks.FALLBACK]


async def test_a_mouth_whose_key_is_refused_fails_at_once(standins: Local, host: Path) -> None:
    client = open_client(api_key="a-key", base_url=standins.openai_base_url, concurrency=5, meter=Meter())
    models = ("gpt-4o-mini-tts", "tts-1")
    mouth = fallbacks.speech_synthesis(models, lambda model: openai.TTS(model=model, client=client))
    standins.break_next("tts", "status", status=401)
    with pytest.raises(APIStatusError):
        async with mouth.synthesize("Good day.") as stream:
            assert not [event async for event in stream]
    assert models_of(standins.seen("tts")) == ["gpt-4o-mini-tts"]
    await mouth.aclose()


async def test_an_outage_of_one_model_is_counted_once_whatever_is_tried_meanwhile(standins: Local, host: Path) -> None:
    standins.break_next("llm", "status", status=500, times=100, model="gpt")
    thinking = mind(standins, "gpt", "gpt-mini")
    errors = errors_of(thinking)
    for _ in range(3):
        assert "Hello" in await answer(thinking)
        await asyncio.sleep(0.3)
    tried = models_of(standins.seen("llm"))
    assert tried.count("gpt") > 2 and tried.count("gpt-mini") == 3
    assert [error.recoverable for error in errors] == [True, True]
    standins.forget()
    back = asyncio.Event()
    thinking.on("llm_availability_changed", lambda event: back.set() if event.available else None)
    assert "Hello" in await answer(thinking)
    await asyncio.wait_for(back.wait(), 10)
    standins.break_next("llm", "status", status=500, times=2, model="gpt")
    assert "Hello" in await answer(thinking)
    assert len(errors) == 4, "the next outage is one of its own"
    await thinking.aclose()
