"""The chat stand-in, driven by the real OpenAI plugin."""

from __future__ import annotations

import time

import aiohttp
import pytest
from livekit.agents import APIConnectOptions, APIStatusError, llm
from livekit.plugins import openai

from live.livekit import Local

NO_RETRY = APIConnectOptions(max_retry=0, timeout=5)


def brain(standins: Local) -> openai.LLM:
    return openai.LLM(model="gpt-4.1-mini", base_url=standins.openai_base_url, api_key="a-key", temperature=0.3)


def conversation(*said: str) -> llm.ChatContext:
    context = llm.ChatContext()
    context.add_message(role="system", content="Be brief.")
    for index, text in enumerate(said):
        context.add_message(role="user" if index % 2 == 0 else "assistant", content=text)
    return context


async def answer(model: openai.LLM, context: llm.ChatContext) -> list[tuple[float, llm.ChatChunk]]:
    chunks = []
    async with model.chat(chat_ctx=context, conn_options=NO_RETRY) as stream:
        async for chunk in stream:
            chunks.append((time.monotonic(), chunk))
    return chunks


def text_of(chunks: list[tuple[float, llm.ChatChunk]]) -> str:
    return "".join(chunk.delta.content or "" for _, chunk in chunks if chunk.delta)


async def test_an_answer_comes_word_by_word_and_counts_the_turns(standins: Local) -> None:
    async with brain(standins) as model:
        chunks = await answer(model, conversation("Hello.", "Hi", "What is the weather like today?"))
    assert text_of(chunks) == "You said: What is the weather like today. That was turn 2."
    worded = [at for at, chunk in chunks if chunk.delta and chunk.delta.content]
    assert len(worded) == 12
    assert worded[-1] - worded[0] > 0.1, "it came all at once"
    assert chunks[-1][1].usage is not None
    assert chunks[-1][1].usage.completion_tokens == 12


async def test_without_a_word_from_the_user_it_greets(standins: Local) -> None:
    async with brain(standins) as model:
        assert text_of(await answer(model, conversation())).startswith("Hello")


async def test_what_was_asked_is_seen_but_no_key(standins: Local) -> None:
    async with brain(standins) as model:
        await answer(model, conversation("Hello"))
    [entry] = standins.seen("llm")
    assert entry["model"] == "gpt-4.1-mini"
    assert entry["text"] == "Hello"
    assert entry["params"]["temperature"] == 0.3
    assert abs(time.time() - entry["at"]) < 5
    assert "a-key" not in str(entry)


async def test_a_whole_answer_is_given_where_no_stream_is_wanted(
    standins: Local, session: aiohttp.ClientSession
) -> None:
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}
    url, key = f"{standins.openai_base_url}/chat/completions", {"Authorization": "Bearer a-key"}
    async with session.post(url, json=asked, headers=key) as response:
        body = await response.json()
    assert body["choices"][0]["message"]["content"] == "You said: Hello. That was turn 1."


@pytest.mark.parametrize("path", ["models", "chat/completions", "audio/speech"])
async def test_without_a_key_nothing_is_answered(standins: Local, session: aiohttp.ClientSession, path: str) -> None:
    method = "GET" if path == "models" else "POST"
    async with session.request(method, f"{standins.openai_base_url}/{path}", json={}) as response:
        assert response.status == 401
        assert "API key" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"model": "m", "messages": "hello"}'])
async def test_a_body_that_is_no_request_is_refused(
    standins: Local, session: aiohttp.ClientSession, body: bytes
) -> None:
    url, key = f"{standins.openai_base_url}/chat/completions", {"Authorization": "Bearer a-key"}
    async with session.post(url, data=body, headers=key) as response:
        assert response.status == 400


async def test_a_status_fault_hits_as_often_as_asked_and_then_no_more(standins: Local) -> None:
    standins.break_next("llm", "status", status=429, retry_after=2, times=2)
    async with brain(standins) as model:
        for _ in range(2):
            with pytest.raises(APIStatusError) as caught:
                await answer(model, conversation("Hello"))
            assert caught.value.status_code == 429
        assert text_of(await answer(model, conversation("Hello"))) == "You said: Hello. That was turn 1."


async def test_a_cut_stream_ends_in_the_middle(standins: Local, session: aiohttp.ClientSession) -> None:
    standins.break_next("llm", "cut", after=2)
    asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "one two three"}]}
    url, key = f"{standins.openai_base_url}/chat/completions", {"Authorization": "Bearer a-key"}
    received = b""
    with pytest.raises(aiohttp.ClientPayloadError):
        async with session.post(url, json=asked, headers=key) as response:
            async for part in response.content.iter_any():
                received += part
    assert b"said:" in received
    assert b"one" not in received


async def test_a_stalled_request_is_never_answered(standins: Local, session: aiohttp.ClientSession) -> None:
    standins.break_next("llm", "stall")
    url, key = f"{standins.openai_base_url}/chat/completions", {"Authorization": "Bearer a-key"}
    asked = {"model": "m", "messages": [{"role": "user", "content": "one"}]}
    with pytest.raises(TimeoutError):
        await session.post(url, json=asked, headers=key, timeout=aiohttp.ClientTimeout(total=0.3))


async def test_a_fault_that_makes_no_sense_is_refused(standins: Local, session: aiohttp.ClientSession) -> None:
    url = standins.openai_base_url.removesuffix("/v1") + "/faults"
    async with session.post(url, json={"kind": "llm", "fault": "status", "status": 200}) as response:
        assert response.status == 400
        assert "400 to 599" in (await response.json())["error"]
