"""The caller the live tests use, against a real livekit-server: what it says arrives, what is said it hears."""

from __future__ import annotations

import asyncio
import time

import pytest

from live.caller import calling
from live.livekit import Local, local

__all__ = ["local"]
pytestmark = pytest.mark.live
PHRASE = "Please tell me a short story"


async def test_each_caller_hears_what_the_other_says_and_when(local: Local) -> None:
    async with (
        calling(local.server, "pair", identity="anna", agents_only=False) as anna,
        calling(local.server, "pair", identity="ben", agents_only=False) as ben,
    ):
        began = time.monotonic()
        speaking = asyncio.create_task(anna.say(PHRASE))
        heard = await ben.hear(10, since=began)
        ended = await speaking
        print(f"heard {1000 * (heard.started_at - began):.0f} ms after the first word at {heard.level:.0f} dBFS")
        assert heard.identity == "anna"
        assert 0 <= heard.started_at - began < 1.5
        assert 2.0 < ended - began < 3.0
        await ben.silence(0.4, within=3)
        assert ben.longest_gap(heard.started_at, ended) < 0.5
        with pytest.raises(TimeoutError):
            await anna.hear(0.3, since=ended)


async def test_persons_are_no_agents(local: Local) -> None:
    async with calling(local.server, "people", identity="anna") as anna, calling(local.server, "people", identity="b"):
        assert anna.agents() == []
        with pytest.raises(TimeoutError):
            await anna.agent_joined(0.1)


async def test_hanging_up_twice_does_no_harm(local: Local) -> None:
    async with calling(local.server, "short") as caller:
        await caller.hang_up()
