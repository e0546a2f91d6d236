"""The OpenAI client of a call, in one process and in several, against the stand-in that counts what is in flight."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from livekit.agents import APIConnectOptions, APIError, APIStatusError, llm
from livekit.plugins import openai as plugin

from live.livekit import Local
from mindbot_worker.providers.openai_client import open_client
from mindbot_worker.providers.usage_meter import UsageMeter as Meter

ASKER = Path(__file__).with_name("asker.py")
SEATS = 5
NO_RETRY = APIConnectOptions(max_retry=0, timeout=5)


def client_of(standins: Local, meter: Meter | None = None, seats: int = SEATS) -> openai.AsyncClient:
    return open_client(api_key="a-key", base_url=standins.openai_base_url, concurrency=seats, meter=meter or Meter())


async def ask(client: openai.AsyncClient, text: str = "Hello", model: str = "gpt") -> str:
    context = llm.ChatContext()
    context.add_message(role="user", content=text)
    async with plugin.LLM(model=model, client=client).chat(chat_ctx=context, conn_options=NO_RETRY) as stream:
        return "".join([chunk.delta.content or "" async for chunk in stream if chunk.delta])


async def speak(client: openai.AsyncClient, text: str) -> int:
    async with plugin.TTS(client=client).synthesize(text, conn_options=NO_RETRY) as stream:
        return len([event async for event in stream])


class Asker:
    """One process with requests of its own."""

    def __init__(self, url: str, requests: int, words: int) -> None:
        command = [sys.executable, str(ASKER), url, str(SEATS), str(requests), str(words)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ))

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        self.wait("asking")

    def wait(self, what: str) -> float:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().decode().strip() == what
        return time.monotonic()


@pytest.fixture
def asker(standins: Local, host: Path) -> Iterator[Callable[[int, int], Asker]]:
    started: list[Asker] = []

    def start(requests: int, words: int) -> Asker:
        started.append(Asker(standins.openai_base_url, requests, words))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait(10)


async def test_what_calls_think_and_say_together_never_exceeds_the_limit(standins: Local, host: Path) -> None:
    meters = [Meter() for _ in range(12)]
    clients = [client_of(standins, meter) for meter in meters]
    work = [ask(client, f"call {number}") for number, client in enumerate(clients)]
    work += [speak(client, f"I am number {number}.") for number, client in enumerate(clients)]
    await asyncio.gather(*work)
    seen = standins.seen("llm") + standins.seen("tts")
    assert len(seen) == 24 and max(entry["in_flight"] for entry in seen) == SEATS
    assert sum(meter.totals()["openai"]["requests"] for meter in meters) == 24
    assert sum(meter.totals()["openai"].get("waits", 0) for meter in meters) >= 24 - SEATS - 2
    for client in clients:
        await client.close()


def test_12_calls_in_3_processes_keep_the_limit(standins: Local, asker: Callable[[int, int], Asker]) -> None:
    askers = [asker(4, 40) for _ in range(3)]
    for each in askers:
        each.begin()
    for each in askers:
        assert each.process.wait(60) == 0
    seen = standins.seen("llm")
    assert len(seen) == 12 and max(entry["in_flight"] for entry in seen) == SEATS


def test_a_process_killed_with_2_requests_in_flight_leaves_their_places_to_others(
    standins: Local, asker: Callable[[int, int], Asker]
) -> None:
    standins.break_next("llm", "stall", after=1, times=SEATS)
    victim, others, waiting = asker(2, 5), asker(3, 5), asker(2, 5)
    for each, requests in ((victim, 2), (others, 3)):
        each.begin()
        for _ in range(requests):
            each.wait("answered")
    waiting.begin()
    time.sleep(0.3)
    assert len(standins.seen("llm")) == SEATS
    victim.process.kill()
    killed = time.monotonic()
    assert waiting.wait("answered") - killed < 1
    assert waiting.wait("answered") - killed < 1
    assert max(entry["in_flight"] for entry in standins.seen("llm")) == SEATS


async def test_an_answer_that_nobody_wants_any_more_frees_its_place(standins: Local, host: Path) -> None:
    client = client_of(standins, seats=1)
    standins.break_next("llm", "stall", after=1)
    interrupted = asyncio.create_task(ask(client))
    while not standins.seen("llm"):  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.02)
    interrupted.cancel()
    assert await asyncio.wait_for(ask(client), 5)


async def test_a_wait_that_is_too_long_is_a_timeout_and_no_request(standins: Local, host: Path) -> None:
    meter = Meter()
    client = client_of(standins, meter, seats=1)
    standins.break_next("llm", "stall", after=1)
    stalled = asyncio.create_task(ask(client))
    while not standins.seen("llm"):  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.02)
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.2).models.list()
    stalled.cancel()
    assert meter.totals()["openai"]["requests"] == 1


async def test_a_short_wish_for_rest_is_kept_by_all(standins: Local, host: Path) -> None:
    meter = Meter()
    refused, other = client_of(standins, meter), client_of(standins, meter)
    standins.break_next("llm", "status", status=429, retry_after=1)
    with pytest.raises(APIStatusError):
        await ask(refused)
    assert await ask(other)
    first, second = standins.seen("llm")
    assert second["at"] - first["at"] >= 1
    assert meter.totals()["openai"]["rate_limited"] == 1


async def test_a_long_wish_for_rest_fails_requests_at_once_but_those_to_other_models_are_made(
    standins: Local, host: Path
) -> None:
    meter = Meter()
    refused, other = client_of(standins), client_of(standins, meter)
    standins.break_next("llm", "status", status=429, retry_after=30)
    with pytest.raises(APIStatusError):
        await ask(refused)
    with pytest.raises(APIStatusError) as failure:
        await ask(other)
    assert failure.value.status_code == 429 and failure.value.retryable
    assert len(standins.seen("llm")) == 1
    assert meter.totals() == {"openai": {"held": 1}}
    assert await ask(other, model="gpt-mini")


async def test_the_plugins_own_retries_get_over_a_refusal_without_a_time(standins: Local, host: Path) -> None:
    standins.break_next("llm", "status", status=429)
    context = llm.ChatContext()
    context.add_message(role="user", content="Hello")
    began = time.monotonic()
    async with plugin.LLM(client=client_of(standins)).chat(chat_ctx=context) as stream:
        assert [chunk async for chunk in stream]
    assert len(standins.seen("llm")) == 2 and time.monotonic() - began >= 1


async def test_errors_are_counted(standins: Local, host: Path) -> None:
    meter = Meter()
    client = client_of(standins, meter)
    standins.break_next("llm", "status", status=500)
    standins.break_next("llm", "cut")
    for _ in range(2):
        with pytest.raises(Exception, match=r"500|onnection"):
            await ask(client)
    assert meter.totals()["openai"] == {"requests": 2, "errors": 2}


@pytest.mark.parametrize("after", [0, 2])
async def test_a_voice_that_says_nothing_more_fails_as_soon_as_a_caller_can_wait(
    standins: Local, host: Path, after: int
) -> None:
    standins.break_next("tts", "stall", after=after)
    options = {"api_key": "a-key", "base_url": standins.openai_base_url, "concurrency": SEATS, "meter": Meter()}
    client = open_client(**options, patience=0.5)
    async with asyncio.timeout(10):  # the plugin itself would wait for 30 s
        with pytest.raises(APIError):
            await speak(client, "Good day, and what a fine day it is.")
        assert await speak(client, "Good day.")
    await client.close()
