"""What the limits, the count and the fallback chain cost a call: `python bench/provider_cost.py` (a minute)."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import openai

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from livekit import rtc
from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.plugins import deepgram

from live.livekit import Local, running_local
from mindbot_worker.protocol import heartbeat
from mindbot_worker.providers import fallbacks
from mindbot_worker.providers.concurrency_limit import draw_ticket as draw
from mindbot_worker.providers.openai_client import open_client
from mindbot_worker.providers.request_gate import RequestGate as Provider
from mindbot_worker.providers.usage_meter import UsageMeter as Meter

VISITS, ANSWERS, WAITING, SECONDS = 2000, 40, 40, 20


async def visits(_: Local) -> None:
    provider = Provider("openai", 5, Meter())
    began = time.perf_counter()
    for _ in range(VISITS):
        visit = await provider.admit("gpt", 5)
        visit.answered(200, {})
        visit.finish()
    print(f"a request: {(time.perf_counter() - began) / VISITS * 1e6:.0f} µs")


async def looks(_: Local) -> None:
    file = Path(os.environ[heartbeat.RUNTIME_DIR]) / "looks"
    tickets = [ticket for _ in range(WAITING) if (ticket := draw(file)) is not None]
    began = time.perf_counter()
    for _ in range(VISITS):
        tickets[-1].has_turn(5)
    print(f"a look of one of {WAITING} in the queue: {(time.perf_counter() - began) / VISITS * 1e6:.0f} µs, each 10 ms")
    for ticket in tickets:
        ticket.give_back()


async def answers(local: Local) -> None:
    """A whole answer of the stand-in, by turns with the client of a call and with a bare one."""
    limited = open_client(api_key="a-key", base_url=local.openai_base_url, concurrency=5, meter=Meter())
    bare = openai.AsyncClient(api_key="a-key", base_url=local.openai_base_url, http_client=httpx2.AsyncClient())
    took: dict[openai.AsyncClient, list[float]] = {limited: [], bare: []}
    for _ in range(ANSWERS):
        for client, times in took.items():
            began = time.perf_counter()
            stream = await client.chat.completions.create(
                model="gpt", stream=True, messages=[{"role": "user", "content": "Hello"}]
            )
            async with stream:
                await anext(stream)
                async for _ in stream:
                    pass
            times.append(time.perf_counter() - began)
    with_limits, without = (statistics.median(took[client]) * 1000 for client in (limited, bare))
    print(f"an answer: {with_limits:.1f} ms with limits, {without:.1f} ms without")


async def chain(local: Local) -> None:
    """CPU of hearing a call, with one model and with a second one behind it."""
    async with http_context.open() as session:

        def ears(model: str) -> deepgram.STT:
            return deepgram.STT(model=model, base_url=local.deepgram_base_url, api_key="a-key", http_session=session)

        for models in (("nova-3",), ("nova-3", "nova-2")):
            cost = await _hearing(fallbacks.speech_recognition(models, ears))
            print(f"hearing with {' and '.join(models)}: {cost:.2f} % of a core")


async def _hearing(model: stt.STT) -> float:
    stream = model.stream()
    frame = rtc.AudioFrame(bytes(2 * 800), 16_000, 1, 800)
    began, due = time.process_time(), time.monotonic()
    for _ in range(SECONDS * 20):
        stream.push_frame(frame)
        due += 0.05
        await asyncio.sleep(max(due - time.monotonic(), 0))
    spent = time.process_time() - began
    await stream.aclose()
    return spent / SECONDS * 100


def main() -> None:
    measured: list[Callable[[Local], Awaitable[None]]] = [visits, looks, answers, chain]
    with tempfile.TemporaryDirectory() as folder, running_local() as local:
        os.environ[heartbeat.RUNTIME_DIR] = folder
        for each in measured:
            asyncio.run(each(local))  # type: ignore[arg-type]


main()
