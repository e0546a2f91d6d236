"""Many calls at once: the limit of the host is kept, everybody is answered, and what was used is told."""

import asyncio
import contextlib

import pytest

from live.caller import calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import ready, supervised

pytestmark = pytest.mark.live
PHRASE = next(iter(load_phrases()))
CALLS, WORKERS, SEATS = 6, 3, 2
"""As many calls as two cores carry with their callers; tests/functional/providers has 12 of them, without sound."""
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
