"""Many calls at once: the limit of the host is kept, everybody is answered, and what was used is told."""

import asyncio
import contextlib
import itertools
import os
from collections import Counter

import pytest

from live.caller import attending, calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised

pytestmark = pytest.mark.live
PHRASE = next(iter(load_phrases()))
CALLS, WORKERS, SEATS = 6, 3, 2
"""As many calls as two cores carry with callers who speak."""
WRITERS, WRITERS_SEATS, ROUNDS = int(os.environ.get("LIMIT_CALLS", "0")), 5, 3
"""Calls whose callers only write, which costs them next to nothing; run by hand with LIMIT_CALLS=12."""
PATIENCE = 120
"""Seconds for an answer: so many calls keep two cores busy."""


@pytest.mark.timeout(600)
async def test_calls_in_3_workers_share_2_seats_and_are_all_answered(tmp_path, local):  # noqa: F811
    local.forget()
    with supervised(tmp_path, local, workers=WORKERS, VOICE__OPENAI_CONCURRENCY=str(SEATS)) as daemon:
        await ready(daemon, WORKERS)
        async with contextlib.AsyncExitStack() as stack:
            rooms = [f"limits-{number}" for number in range(CALLS)]
            callers = [await stack.enter_async_context(calling(local.server, room)) for room in rooms]
            await asyncio.gather(*(caller.hear(PATIENCE, since=0) for caller in callers))
            await asyncio.gather(*(caller.silence(1.0, within=PATIENCE) for caller in callers))
            ended = await asyncio.gather(*(caller.say(PHRASE) for caller in callers))
            await asyncio.gather(*(caller.hear(PATIENCE, since=at) for caller, at in zip(callers, ended, strict=True)))
            rows = daemon.status()["workers"]
            assert sum(len(row["calls"]) for row in rows) == CALLS
        asked = local.seen("llm") + local.seen("tts")
        assert len(asked) >= 3 * CALLS and 2 <= max(entry["in_flight"] for entry in asked) <= SEATS
        await asyncio.to_thread(daemon.until, lambda: not daemon.status()["calls"]["active"], PATIENCE)
        status = daemon.status()
        used, listened = status["usage"]["openai"], status["usage"]["deepgram"]
        assert "errors" not in used and "errors" not in listened
        assert used["requests"] >= 3 * CALLS and used["tokens_in"] and used["tokens_out"] and used["characters"]
        assert listened["requests"] >= CALLS and listened["audio_seconds"] > CALLS
        assert used["requests"] == sum(row["usage"].get("openai", {}).get("requests", 0) for row in status["workers"])
        assert await asyncio.to_thread(daemon.terminate, 120) == 0


def written(number: int, turn: int) -> str:
    """Long enough for a request to last while others come."""
    return f"caller {number} writes message {turn} " + "and goes on " * 10


async def answered_all(local, turn):  # noqa: F811
    """Every message of this round has been answered, and the answer is being spoken."""
    async with asyncio.timeout(PATIENCE):
        while True:
            spoken = await asyncio.to_thread(local.seen, "tts")
            begun = [f"caller {number} writes message {turn} " for number in range(WRITERS)]
            if all(any(each in entry["text"] for entry in spoken) for each in begun):
                return
            await asyncio.sleep(0.2)


@pytest.mark.skipif(not WRITERS, reason="12 calls keep two cores busy for minutes: LIMIT_CALLS=12")
@pytest.mark.timeout(600)
async def test_calls_that_write_all_at_once_share_5_seats(tmp_path, local):  # noqa: F811
    local.forget()
    settings = {"VOICE__OPENAI_CONCURRENCY": str(WRITERS_SEATS), "VOICE__GREETING": "", "POOL__MAX_CALLS": "5"}
    with supervised(tmp_path, local, workers=WORKERS, **settings) as daemon:
        await ready(daemon, WORKERS)
        async with contextlib.AsyncExitStack() as stack:
            rooms = [f"writes-{number}" for number in range(WRITERS)]
            callers = [await stack.enter_async_context(attending(local.server, room, hears=True)) for room in rooms]
            for room in rooms:
                await answered(daemon, room)
            for room in rooms:
                await asyncio.to_thread(daemon.until, lambda: listening(daemon, room), PATIENCE)  # noqa: B023
            for turn in range(ROUNDS):
                await asyncio.gather(
                    *(
                        caller.local_participant.send_text(written(number, turn), topic="lk.chat")
                        for number, caller in enumerate(callers)
                    )
                )
                await answered_all(local, turn)
            rows = daemon.status()["workers"]
            calls = [len(row["calls"]) for row in rows]
            assert sum(calls) == WRITERS and all(calls), calls
        asked = local.seen("llm") + local.seen("tts")
        in_flight = Counter(entry["in_flight"] for entry in asked)
        await asyncio.to_thread(daemon.until, lambda: not daemon.status()["calls"]["active"], PATIENCE)
        used = daemon.status()["usage"]["openai"]
        print(
            f"{WRITERS} calls, {calls} by worker; {len(asked)} requests, in flight: {sorted(in_flight.items())}; {used}"
        )
        assert max(in_flight) == WRITERS_SEATS
        assert "errors" not in used and used["waits"]
        assert await asyncio.to_thread(daemon.terminate, 120) == 0


def listening(daemon, room):
    calls = itertools.chain(*(row["calls"] for row in daemon.status()["workers"]))
    return any(call["room"] == room and call["state"] == "listening" for call in calls)
