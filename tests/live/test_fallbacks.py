"""The speech recognition that steps in by default, and what it cannot mend."""

import asyncio

import pytest

from live.caller import calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised, wait

pytestmark = pytest.mark.live
PHRASE = next(iter(load_phrases()))
APOLOGY = "I cannot go on."


@pytest.fixture(scope="module")
def pool(tmp_path_factory, local):  # noqa: F811
    folder = tmp_path_factory.mktemp("fallbacks")
    with supervised(folder, local, workers=1, VOICE__GREETING="Good day.", VOICE__APOLOGY=APOLOGY) as daemon:
        yield daemon
        assert not daemon.events("worker.exited")
        assert daemon.terminate(60) == 0


async def test_nova_2_understands_the_caller_while_nova_3_fails(pool, local):  # noqa: F811
    await ready(pool, 1)
    local.forget()
    local.break_next("stt", "status", status=500, times=1000, model="nova-3")
    async with calling(local.server, "second") as caller:
        await answered(pool, "second")
        await caller.hear(30, since=0)
        await caller.silence(1.0, within=30)
        asked = await caller.say(PHRASE)
        await caller.hear(60, since=asked)
        await wait(pool, "user.speech", room="second")
    (told,) = pool.events("provider.fallback", room="second")
    assert (told["kind"], told["model"], told["next"]) == ("stt", "nova-3", "nova-2")
    ended = await wait(pool, "call.ended", room="second")
    assert [each["recoverable"] for each in pool.events("job.error", room="second")] == [True, True]
    assert ended["summary"]["errors"] == 2, "one outage, whatever was tried while it lasted"
    assert ended["summary"]["replies"] >= 2


async def test_a_key_that_is_refused_ends_the_call_as_soon_as_with_one_model(pool, local):  # noqa: F811
    await ready(pool, 1)
    local.forget()
    local.break_next("stt", "status", status=401, times=1000)
    async with calling(local.server, "refused") as caller:
        gone = asyncio.Event()
        caller.room.on("disconnected", lambda *_: gone.set())
        await answered(pool, "refused")
        await asyncio.wait_for(gone.wait(), 60)
    ended = await wait(pool, "call.ended", room="refused")
    assert {each["model"] for each in local.seen("stt")} == {"nova-3"}
    assert local.seen("tts")[-1]["text"] == APOLOGY
    errors = pool.events("job.error", room="refused")
    assert [(each["status"], each["recoverable"]) for each in errors] == [(401, False)] * len(errors)
    assert len(errors) == len(local.seen("stt")), "each attempt is counted once"
    assert ended["summary"]["errors"] <= len(errors) + 1
    assert not pool.events("provider.fallback", room="refused")
    local.forget()
