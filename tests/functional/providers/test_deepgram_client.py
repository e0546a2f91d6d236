"""Deepgram's connections, each with a place for as long as it is open, as the real plugin opens them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from livekit.agents import APIConnectOptions, APIError, APIStatusError
from livekit.agents.stt import RecognizeStream
from livekit.agents.utils import http_context
from livekit.plugins import deepgram

from live.livekit import Local
from mindbot_worker.providers.deepgram_client import open_session
from mindbot_worker.providers.usage_meter import UsageMeter as Meter

NO_RETRY = APIConnectOptions(max_retry=0, timeout=5)


def listen(standins: Local, meter: Meter, connections: int = 1) -> RecognizeStream:
    session = open_session(concurrency=connections, meter=meter)
    model = deepgram.STT(base_url=standins.deepgram_base_url, api_key="a-key", http_session=session)
    return model.stream(conn_options=NO_RETRY)


async def connections(standins: Local, count: int) -> None:
    async with asyncio.timeout(10):
        while len(standins.seen("stt")) < count:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.02)


async def test_an_open_connection_keeps_its_place_until_it_is_closed(standins: Local, host: Path) -> None:
    async with http_context.open():
        meter = Meter()
        first = listen(standins, meter)
        await connections(standins, 1)
        second = listen(standins, meter)
        await asyncio.sleep(0.3)
        assert len(standins.seen("stt")) == 1
        await first.aclose()
        await connections(standins, 2)
        await second.aclose()
        assert meter.totals()["deepgram"]["requests"] == 2 and meter.totals()["deepgram"]["waits"] == 1


async def test_a_wish_for_rest_is_kept_by_all(standins: Local, host: Path) -> None:
    async with http_context.open():
        meter = Meter()
        standins.break_next("stt", "status", status=429, retry_after=30)
        for _ in range(2):
            with pytest.raises(APIStatusError) as failure:
                await anext(listen(standins, meter))
            assert failure.value.status_code == 429
        assert len(standins.seen("stt")) == 1
        assert meter.totals() == {"deepgram": {"requests": 1, "rate_limited": 1, "held": 1}}


async def test_a_connection_that_is_cut_gives_its_place_back(standins: Local, host: Path) -> None:
    async with http_context.open():
        meter = Meter()
        standins.break_next("stt", "cut")
        with pytest.raises(APIError):
            async for _ in listen(standins, meter):
                pass
        second = listen(standins, meter)
        await connections(standins, 2)
        await second.aclose()
