"""Rolling changes and upgrades under live calls that last longer: none is cut, and the pool is never short."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from live.caller import attending, calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised, wait

pytestmark = pytest.mark.live
PHRASES = list(load_phrases())
ROLL = 240.0
"""Seconds for a roll of real workers beside live calls."""
WORKERS = 4
CALLS, SPEAKING = int(os.environ.get("ROLL_CALLS", "4")), 2
UPGRADES = int(os.environ.get("UPGRADES", "3"))
NEW = {f"{slot}.2" for slot in range(WORKERS)}


async def fewest_ready_until(daemon, done: asyncio.Event) -> int:
    fewest = 99
    while not done.is_set():
        status = await asyncio.to_thread(daemon.status)
        ready_now = sum(row["phase"] == "ready" and row["registered"] for row in status["workers"])
        fewest = min(fewest, ready_now)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.2)
    return fewest


@contextlib.asynccontextmanager
async def long_calls(daemon, stack):
    """CALLS live calls that last longer than any roll; of the first SPEAKING the callers can speak."""
    async with contextlib.AsyncExitStack() as callers:
        rooms = [f"{daemon.socket.parent.name}-{number}" for number in range(CALLS)]
        speaking = [await callers.enter_async_context(calling(stack.server, room)) for room in rooms[:SPEAKING]]
        for room in rooms[SPEAKING:]:
            await callers.enter_async_context(attending(stack.server, room))
        for room in rooms:
            await answered(daemon, room)
        yield rooms, speaking


@pytest.fixture
async def rolled(tmp_path, local):  # noqa: F811
    """A pool of WORKERS with its long calls, and its env file."""
    env = tmp_path / "env"
    env.write_text("GREETING=one\n")
    with supervised(tmp_path, local, "--env-file", str(env), workers=WORKERS) as daemon:
        await ready(daemon, WORKERS)
        async with long_calls(daemon, local) as (rooms, speaking):
            yield daemon, env, rooms, speaking
        assert not daemon.events("call.lost")
        assert not daemon.events("worker.exited", level="error")
        assert not daemon.events("supervisor.bug")
        assert await asyncio.to_thread(daemon.terminate, 90) == 0
        assert daemon.left_behind() == []


async def roll(daemon, *command: str) -> None:
    """Run the command, and see that the pool is never more than one worker short meanwhile."""
    done = asyncio.Event()
    watching = asyncio.create_task(fewest_ready_until(daemon, done))
    ended = await asyncio.to_thread(lambda: daemon.client(*command, timeout=ROLL))
    done.set()
    assert ended.returncode == 0, ended.stderr
    assert await watching >= WORKERS - 1
    await ready(daemon, WORKERS)


async def all_go_on(daemon, rooms, speaking) -> None:
    """No call was touched, and those who speak are answered."""
    calls = daemon.status()["calls"]
    assert (calls["active"], calls["lost"], calls["cut_by_us"], calls["recovered"]) == (len(rooms), 0, 0, 0)
    for caller in speaking:
        await caller.silence(1.0, within=30)
        said = await caller.say(PHRASES[0])
        await caller.hear(30, since=said)


def serving(found) -> set[int]:
    return {row["pid"] for row in found["workers"] if row["phase"] == "ready"}


def descriptors(daemon) -> int:
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


async def test_a_restart_of_all_and_upgrades_cut_no_call(rolled):
    daemon, _, rooms, speaking = rolled
    await roll(daemon, "restart", "all")
    assert {row["worker"] for row in daemon.status()["workers"] if row["phase"] == "ready"} == NEW
    workers, before = serving(daemon.status()), 0
    for number in range(UPGRADES):
        after = len(daemon.events())
        ended = await asyncio.to_thread(lambda: daemon.client("upgrade", timeout=90))
        assert ended.returncode == 0, ended.stderr
        upgraded = await wait(daemon, "supervisor.upgraded", after=after)
        assert upgraded["pid"] == daemon.process.pid
        assert serving(await status(daemon)) == workers
        before = before or descriptors(daemon)
        assert descriptors(daemon) <= before + 3, f"upgrade {number + 1}"
    await all_go_on(daemon, rooms, speaking)


async def test_a_reload_after_an_env_change_cuts_no_call(rolled):
    daemon, env, rooms, speaking = rolled
    env.write_text("GREETING=two\n")
    await roll(daemon, "reload")
    assert {row["worker"] for row in daemon.status()["workers"] if row["phase"] == "ready"} == NEW
    await all_go_on(daemon, rooms, speaking)


async def test_a_restart_of_all_in_a_hurry_moves_every_call(rolled):
    daemon, _, rooms, speaking = rolled
    ended = await asyncio.to_thread(lambda: daemon.client("restart", "all", "--now", timeout=ROLL))
    assert ended.returncode == 0, ended.stderr
    await asyncio.to_thread(daemon.until, lambda: len(daemon.events("call.migrated")) == len(rooms), ROLL)
    gaps = sorted(record["seconds"] for record in daemon.events("call.migrated"))
    print(f"moved {len(gaps)} calls: median {gaps[len(gaps) // 2]:.2f} s, longest {gaps[-1]:.2f} s")
    await ready(daemon, WORKERS)
    await all_go_on(daemon, rooms, speaking)


async def status(daemon):
    """The status, once the daemon answers again."""
    return await asyncio.to_thread(daemon.until, lambda: (found := daemon.status())["workers"] and found)
