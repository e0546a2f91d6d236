"""A provider that fails for good: the caller hears an apology where that is possible, and no room stays silent.

What comes of each fault of each provider is in test_provider_faults.py; here are the notice and the handover.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from functional.receiver import Receiver
from live.caller import calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised, wait

pytestmark = pytest.mark.live
PHRASES = list(load_phrases())
APOLOGY = "I cannot go on."
SETTINGS = {"VOICE__APOLOGY": APOLOGY, "VOICE__EXCUSE": "Pardon?", "VOICE__GREETING": "Good day."}


@pytest.fixture
def receiver():
    with Receiver() as server:
        yield server


def gone(caller) -> asyncio.Event:
    """Set when the server has put the caller out of the room, as it does when the room is deleted."""
    event = asyncio.Event()
    caller.room.on("disconnected", lambda *_: event.set())
    return event


async def test_a_model_that_fails_is_excused_then_apologised_for_and_the_line_ends(tmp_path, local, receiver):  # noqa: F811
    local.forget()
    settings = {**SETTINGS, "NOTIFY__WEBHOOK_URL": receiver.url, "NOTIFY__EVENTS": '["agent.error"]'}
    with supervised(tmp_path, local, workers=1, VOICE__FAILED_REPLIES="2", **settings) as daemon:
        await ready(daemon, 1)
        local.break_next("llm", "status", status=500, times=1000)
        async with calling(local.server, "no-model") as caller:
            ended = gone(caller)
            await answered(daemon, "no-model")
            await caller.hear(30, since=0)
            await caller.silence(1.0, within=30)
            asked = await caller.say(PHRASES[0])
            await caller.hear(60, since=asked)
            await caller.silence(1.0, within=30)
            asked = await caller.say(PHRASES[1])
            await caller.hear(60, since=asked)
            await asyncio.wait_for(ended.wait(), 60)
        told = await wait(daemon, "agent.error")
        assert (told["kind"], told["room"], told["level"]) == ("llm", "no-model", "error")
        await wait(daemon, "call.ended", room="no-model")
        assert [each["text"] for each in local.seen("tts")] == ["Good day.", "Pardon?", APOLOGY]
        local.forget()
        assert len(daemon.events("agent.error")) == 1
        assert not daemon.events("worker.exited")
        notice = receiver.wait(lambda posts: posts and posts[0]).json
        assert (notice["event"], notice["room"], notice["kind"]) == ("agent.error", "no-model", "llm")
        assert await asyncio.to_thread(daemon.terminate, 60) == 0
        assert len(receiver.posts) == 1
    assert APOLOGY not in daemon.tail(100_000)


async def test_a_session_that_livekit_closed_is_apologised_for_and_the_line_ends(tmp_path, local):  # noqa: F811
    local.forget()
    with supervised(tmp_path, local, workers=1, **SETTINGS) as daemon:
        await ready(daemon, 1)
        local.break_next("stt", "status", status=401, times=1000)
        async with calling(local.server, "no-ears") as caller:
            ended = gone(caller)
            await answered(daemon, "no-ears")
            await wait(daemon, "agent.error", kind="stt", room="no-ears", timeout=90)
            told = time.monotonic()
            await asyncio.wait_for(ended.wait(), 60)
            assert caller.ears.stretches[-1].end > told, "the apology was heard"
        await wait(daemon, "call.ended", room="no-ears")
        assert [each["text"] for each in local.seen("tts")][-1] == APOLOGY
        local.forget()
        assert len(daemon.events("agent.error")) == 1
        assert not daemon.events("worker.exited")
        assert await asyncio.to_thread(daemon.terminate, 60) == 0


async def test_a_call_is_handed_over_to_an_agent_that_goes_on(tmp_path, local):  # noqa: F811
    local.forget()
    settings = {**SETTINGS, "VOICE__ON_FAILURE": "handover", "VOICE__FAILED_REPLIES": "1"}
    with supervised(tmp_path, local, workers=2, **settings) as daemon:
        await ready(daemon, 2)
        async with calling(local.server, "handed-over") as caller:
            await answered(daemon, "handed-over")
            await caller.hear(30, since=0)
            await caller.silence(1.0, within=30)
            local.break_next("llm", "status", status=401, times=1)
            failed = time.monotonic()
            await caller.say(PHRASES[0])
            recovered = await wait(daemon, "call.recovered", room="handed-over", timeout=60)
            await caller.hear(30, since=failed, identity=recovered["identity"])
            await caller.silence(1.5, within=30)
            assert len(daemon.events("agent.error")) == 1
            local.break_next("llm", "status", status=401, times=1)
            ended = gone(caller)
            await caller.say(PHRASES[1])
            await asyncio.wait_for(ended.wait(), 60)
        assert len(daemon.events("job.handed_over")) == len(daemon.events("call.recovered")) == 1
        local.forget()
        assert not daemon.events("worker.exited")
        assert await asyncio.to_thread(daemon.terminate, 60) == 0
