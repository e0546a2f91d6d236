"""Calls go on: whoever dies, the caller has a new agent in the same room, with what was said before."""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from live.caller import calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised, wait
from mindbot_supervisor.recovery.livekit import LiveKitApi

pytestmark = pytest.mark.live
PHRASES = list(load_phrases())

POISON = """
import ctypes
from livekit.agents import AgentServer

server = AgentServer()

@server.rtc_session(agent_name="poison")
async def entrypoint(context):
    await context.connect()
    ctypes.string_at(0)
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory, local):  # noqa: F811
    """One pool for the tests that only kill a part of it; each waits until it is whole."""
    with supervised(tmp_path_factory.mktemp("pool"), local, workers=2, LOG__LOG_TRANSCRIPTS="true") as daemon:
        yield daemon
        assert daemon.terminate(60) == 0
        assert not daemon.events("call.lost")
        assert not daemon.events("supervisor.bug")
        assert daemon.left_behind() == []


@contextlib.asynccontextmanager
async def greeted(daemon, stack, room, agent_name=None):
    """A caller who has been greeted, and the worker that took the call."""
    async with calling(stack.server, room, agent_name=agent_name) as caller:
        row = await answered(daemon, room)
        await caller.hear(30, since=0)
        await caller.silence(1.0, within=30)
        yield caller, row


async def talk(daemon, caller, phrase, turn):
    """The caller says something and hears the answer, which counts all that the agent was ever told."""
    await caller.silence(1.0, within=30)
    seen = len(daemon.events("agent.speech"))
    ended = await caller.say(phrase)
    await caller.hear(30, since=ended)
    await asyncio.to_thread(daemon.until, lambda: len(daemon.events("agent.speech")) > seen)
    assert daemon.events("agent.speech")[-1]["text"].endswith(f"That was turn {turn}.")
    await caller.silence(1.0, within=30)


@contextlib.asynccontextmanager
async def looking(stack, room):
    """The agents that were in the room at one time, by the server's own word: a client may hear one under two names,
    as the sender of an old track is used again for a new one.
    """
    server, seen = stack.server, []
    api = LiveKitApi(server.url, server.api_key, server.api_secret, 5.0)

    async def look():
        while True:
            agents = {each.identity for each in await api.participants(room) if each.kind == "AGENT"}
            if agents not in seen:
                seen.append(agents)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.close()


def job_pid(row, room):
    return next(call["pid"] for call in row["calls"] if call["room"] == room)


def journals(daemon):
    return [path.name for path in (daemon.runtime_dir / "calls").iterdir()]


async def test_the_caller_of_a_killed_worker_has_a_new_agent_that_knows_what_was_said(pool, local):  # noqa: F811
    await ready(pool, 2)
    async with greeted(pool, local, "kill") as (caller, row):
        await talk(pool, caller, PHRASES[0], turn=1)
        await talk(pool, caller, PHRASES[1], turn=2)
        killed = time.monotonic()
        os.kill(row["pid"], signal.SIGKILL)
        recovered = await wait(pool, "call.recovered", room="kill", timeout=15)
        assert recovered["attempt"] == 1
        await caller.hear(15, since=killed, identity=recovered["identity"])
        await talk(pool, caller, PHRASES[0], turn=3)
        assert pool.status()["calls"]["lost"] == 0
        assert len(journals(pool)) == 1
    await wait(pool, "call.ended", room="kill")
    assert journals(pool) == []


async def test_every_call_of_a_killed_worker_goes_on(pool, local):  # noqa: F811
    await ready(pool, 2)
    async with contextlib.AsyncExitStack() as stack:
        calls = {room: await stack.enter_async_context(greeted(pool, local, room)) for room in ("a", "b", "c", "d")}
        by_worker = {}
        for room, (_, row) in calls.items():
            by_worker.setdefault(row["pid"], []).append(room)
        victim, rooms = max(by_worker.items(), key=lambda each: len(each[1]))
        assert len(rooms) >= 2
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        for room in rooms:
            recovered = await wait(pool, "call.recovered", room=room, timeout=15)
            await calls[room][0].hear(15, since=killed, identity=recovered["identity"])


async def test_a_killed_job_process_is_replaced_and_its_worker_left_alone(pool, local):  # noqa: F811
    await ready(pool, 2)
    exits = len(pool.events("worker.exited"))
    async with greeted(pool, local, "job") as (caller, row):
        killed = time.monotonic()
        os.kill(job_pid(row, "job"), signal.SIGKILL)
        recovered = await wait(pool, "call.recovered", room="job", timeout=15)
        assert recovered["reason"] == "killed"
        await caller.hear(15, since=killed, identity=recovered["identity"])
    assert len(pool.events("worker.exited")) == exits


async def test_a_restart_in_a_hurry_moves_the_call_and_at_no_time_two_agents_are_there(pool, local):  # noqa: F811
    await ready(pool, 2)
    async with greeted(pool, local, "move") as (caller, row), looking(local, "move") as seen:
        await talk(pool, caller, PHRASES[0], turn=1)
        asked = time.monotonic()
        assert pool.client("restart", row["worker"], "--now").returncode == 0
        moved = await wait(pool, "call.migrated", room="move", timeout=120)
        await caller.hear(15, since=asked, identity=moved["identity"])
        await talk(pool, caller, PHRASES[1], turn=2)
        await wait(pool, "worker.exited", worker=row["worker"], verdict="asked")
        assert (pool.status()["calls"]["migrated"], pool.status()["calls"]["cut_by_us"]) == (1, 0)
        assert {moved["identity"]} in seen
        assert max(map(len, seen)) == 1
    await wait(pool, "call.ended", room="move")
    assert journals(pool) == []


async def test_nobody_is_sent_to_a_room_whose_caller_has_hung_up(pool, local):  # noqa: F811
    await ready(pool, 2)
    async with greeted(pool, local, "gone") as (_, row):
        for pid in (row["pid"], job_pid(row, "gone")):
            os.kill(pid, signal.SIGSTOP)  # so that it does not see that the caller leaves
    os.kill(row["pid"], signal.SIGKILL)
    await wait(pool, "call.ended", room="gone", outcome="alone")
    await wait(pool, "worker.ready", slot=row["slot"], after=len(pool.events()), timeout=60)
    assert len(pool.events("call.started", room="gone")) == 1
    assert journals(pool) == []


async def test_without_recovery_the_caller_hears_nothing_more(tmp_path, local):  # noqa: F811
    with supervised(tmp_path, local, workers=2, RECOVERY__ENABLED="false", POOL__AGENT_NAME="off") as daemon:
        await ready(daemon, 2)
        async with greeted(daemon, local, "off", agent_name="off") as (caller, row):
            os.kill(row["pid"], signal.SIGKILL)
            await wait(daemon, "call.lost", room="off")
            with pytest.raises(TimeoutError):
                await caller.hear(5, since=time.monotonic())
            assert daemon.status()["calls"]["lost"] == 1
            assert not (daemon.runtime_dir / "calls").exists()
        assert await asyncio.to_thread(daemon.terminate, 60) == 0


async def test_a_room_whose_agents_all_crash_is_given_two_more_and_then_left_alone(tmp_path, local):  # noqa: F811
    (tmp_path / "poison.py").write_text(POISON)
    with supervised(tmp_path, local, "--agent", "poison:server", workers=2) as daemon:
        await ready(daemon, 2)
        async with calling(local.server, "poisoned", agent_name="poison"):
            quarantined = await wait(daemon, "call.quarantined", room="poisoned", timeout=60)
            assert quarantined["attempts"] == 2
            assert len(daemon.events("call.started", room="poisoned")) == 3
        assert not daemon.events("worker.exited")
        assert [row["phase"] for row in daemon.status()["workers"]] == ["ready", "ready"]
        assert await asyncio.to_thread(daemon.terminate, 60) == 0
