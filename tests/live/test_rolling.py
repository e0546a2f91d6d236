"""Rolling changes and upgrades under live calls that last longer: none is cut, and the pool is never short."""

import asyncio
import contextlib

import pytest

from live.caller import calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised

pytestmark = pytest.mark.live
PHRASES = list(load_phrases())
ROLL = 240.0
"""Seconds for a roll of real workers: each replacement imports LiveKit anew, beside live calls."""


async def fewest_ready_until(daemon, done: asyncio.Event) -> int:
    fewest = 99
    while not done.is_set():
        status = await asyncio.to_thread(daemon.status)
        ready_now = sum(row["phase"] == "ready" and row["registered"] for row in status["workers"])
        fewest = min(fewest, ready_now)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.2)
    return fewest


async def test_a_reload_after_an_env_change_and_an_upgrade_cut_no_call(tmp_path, local):  # noqa: F811
    env = tmp_path / "env"
    env.write_text("GREETING=one\n")
    with supervised(tmp_path, local, "--env-file", str(env), workers=2) as daemon:
        await ready(daemon, 2)
        async with contextlib.AsyncExitStack() as stack:
            rooms = [f"long-{n}" for n in range(2)]
            callers = [await stack.enter_async_context(calling(local.server, room)) for room in rooms]
            for room in rooms:
                await answered(daemon, room)
            env.write_text("GREETING=two\n")
            done = asyncio.Event()
            watching = asyncio.create_task(fewest_ready_until(daemon, done))
            ended = await asyncio.to_thread(lambda: daemon.client("reload", timeout=ROLL))
            done.set()
            assert ended.returncode == 0, ended.stderr
            assert await watching >= 2
            names = {row["worker"] for row in daemon.status()["workers"] if row["phase"] == "ready"}
            assert names == {"0.2", "1.2"}
            ended = await asyncio.to_thread(lambda: daemon.client("upgrade", timeout=60))
            assert ended.returncode == 0, ended.stderr
            status = daemon.status()
            assert status["calls"] | {"ended": 0} == {
                "active": 2, "ended": 0, "lost": 0, "recovered": 0, "migrated": 0, "cut_by_us": 0,
            }  # fmt: skip
            for caller in callers:
                await caller.silence(1.0, within=30)
                said = await caller.say(PHRASES[0])
                await caller.hear(30, since=said)
        assert not daemon.events("call.lost")
        assert not daemon.events("worker.exited", level="error")
        assert await asyncio.to_thread(daemon.terminate, 90) == 0
        assert daemon.left_behind() == []
