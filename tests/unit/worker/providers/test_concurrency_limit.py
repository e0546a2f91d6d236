"""Seats at a provider: as many as there are, for as long as a caller waits, and counted."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from mindbot_worker.providers.concurrency_limit import LIMITED_WITHIN_CALL_ONLY, ConcurrencyLimit
from mindbot_worker.providers.usage_meter import UsageMeter


async def most_at_once(places: list[ConcurrencyLimit]) -> int:
    at_once = most = 0

    async def request(place: ConcurrencyLimit) -> None:
        nonlocal at_once, most
        seat = await place.take()
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        seat.give_back()
        seat.give_back()

    await asyncio.gather(*(request(place) for place in places))
    return most


async def test_all_who_use_the_same_directory_share_the_seats(tmp_path: Path) -> None:
    # two objects, as in two processes: the file is what they share
    assert await most_at_once([ConcurrencyLimit(tmp_path, "openai", 3, UsageMeter()) for _ in range(9)]) <= 3


async def test_providers_have_their_own_seats(tmp_path: Path) -> None:
    assert await ConcurrencyLimit(tmp_path, "openai", 1, UsageMeter()).take(1)
    assert await ConcurrencyLimit(tmp_path, "deepgram", 1, UsageMeter()).take(1)


async def test_a_request_waits_no_longer_than_its_caller_and_never_goes_ahead(tmp_path: Path) -> None:
    meter = UsageMeter()
    place = ConcurrencyLimit(tmp_path, "openai", 1, meter)
    held = await place.take()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await place.take(within=0.3)
    held.give_back()
    (await place.take(within=5)).give_back()
    assert meter.totals()["openai"]["waits"] == 2 and meter.totals()["openai"]["waited"] > 0.3


async def test_one_that_is_cancelled_leaves_the_queue(tmp_path: Path) -> None:
    place = ConcurrencyLimit(tmp_path, "openai", 1, UsageMeter())
    held = await place.take()
    waiting = asyncio.create_task(place.take())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    held.give_back()
    assert await place.take(within=5)


async def test_without_a_directory_the_call_limits_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert await most_at_once([ConcurrencyLimit(None, "openai", 2, UsageMeter())] * 7) == 2
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert await most_at_once([ConcurrencyLimit(tmp_path / "gone", "openai", 2, UsageMeter())] * 7) == 2
    assert [record.__dict__["event"] for record in caplog.records] == [LIMITED_WITHIN_CALL_ONLY]
