"""The daemon is killed with live calls: none is cut, the next one starts at once, and their log is not lost."""

import asyncio
import contextlib
import signal

import pytest

from live.caller import calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised, wait

pytestmark = pytest.mark.live
PHRASES = list(load_phrases())


async def test_calls_survive_their_daemon_and_their_log_reaches_the_next(tmp_path, local):  # noqa: F811
    rooms = ["orphan-0", "orphan-1"]
    with supervised(tmp_path, local, workers=2) as first:
        await ready(first, 2)
        async with contextlib.AsyncExitStack() as stack:
            callers = {room: await stack.enter_async_context(calling(local.server, room)) for room in rooms}
            for room, caller in callers.items():
                await answered(first, room)
                await caller.hear(30, since=0)
            first.process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(first.process.wait, 10)
            second = stack.enter_context(supervised(tmp_path, local, workers=2))
            await ready(second, 2)
            assert {row["worker"] for row in second.status()["workers"] if row["phase"] == "ready"} == {"0.2", "1.2"}
            left = {row["worker"] for row in second.status()["workers"] if row["phase"] == "draining"}
            assert left and left <= {"0.1", "1.1"}
            for room, caller in callers.items():
                await caller.silence(1.0, within=30)
                ended = await caller.say(PHRASES[0])
                await caller.hear(30, since=ended)
                told = await wait(second, "user.speech", room=room)
                assert told["worker"] in left
            for caller in callers.values():
                await caller.hang_up()
            for name in left:
                await wait(second, "worker.exited", worker=name, verdict="asked", timeout=60)
            assert not second.events("call.lost")
            assert await asyncio.to_thread(second.terminate, 60) == 0
            assert second.left_behind() == []
