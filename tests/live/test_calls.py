"""Real calls through a supervised pool: a caller speaks and listens, workers die, and the log tells what happened."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import time

import pytest

from live.caller import calling, load_phrases
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, calls_on, ready, supervised, wait

pytestmark = pytest.mark.live
PHRASES = list(load_phrases())


def spoken(daemon, room):
    """What the log says the caller said, without its punctuation."""
    return [record["text"].rstrip(".?!") for record in daemon.events("user.speech", room=room)]


async def test_a_caller_is_greeted_and_answered_and_the_log_tells_it(tmp_path, local):  # noqa: F811
    local.forget()
    with supervised(tmp_path, local, LOG__LOG_TRANSCRIPTS="true") as daemon:
        await ready(daemon, 4)
        assert all(row["registered"] for row in daemon.status()["workers"])
        async with calling(local.server, "talk") as caller:
            await caller.hear(30)
            for phrase in PHRASES:
                await caller.silence(1.0, within=30)
                ended = await caller.say(phrase)
                await caller.hear(30, since=ended)
                await asyncio.to_thread(daemon.until, lambda said=phrase: said in spoken(daemon, "talk"))
            await wait(daemon, "agent.speech", room="talk", interrupted=False)
            assert len(daemon.events("agent.speech", room="talk")) >= len(PHRASES)
        await wait(daemon, "call.ended", room="talk")
        assert {seen["model"] for seen in local.seen("stt")} == {"nova-3"}
        assert {seen["voice"] for seen in local.seen("tts")} == {"fable"}
        assert await asyncio.to_thread(daemon.terminate, 60) == 0
        assert not daemon.stray
        assert daemon.left_behind() == []
    text = daemon.tail(100_000)
    for secret in ("sk-local-stand-in-key", "0123456789abcdef0123456789abcdef01234567"):
        assert secret not in text


async def test_a_killed_worker_is_told_within_a_second_and_other_calls_go_on(tmp_path, local):  # noqa: F811
    with supervised(tmp_path, local, RECOVERY__ENABLED="false") as daemon:
        await ready(daemon, 4)
        async with contextlib.AsyncExitStack() as stack:
            callers, rows = await calls_on(daemon, local.server, stack, "kill", workers=2)
            rooms = list(rows)
            victim = rows[rooms[0]]
            spared = [room for room in rooms if rows[room]["worker"] != victim["worker"]]
            for room in rooms:
                await callers[room].hear(30, since=0)
            killed = time.monotonic()
            os.kill(victim["pid"], signal.SIGKILL)
            exited = await wait(daemon, "worker.exited", worker=victim["worker"], timeout=5)
            assert time.monotonic() - killed < 1 + 1
            assert (exited["verdict"], exited["signal"]) == ("signal", "SIGKILL")
            assert exited["calls"] >= 1
            await wait(daemon, "call.lost", room=rooms[0], timeout=5)
            for room in spared:
                await callers[room].silence(1.0, within=30)
                ended = await callers[room].say(PHRASES[0])
                await callers[room].hear(30, since=ended)
            generation = f"{victim['slot']}.2"
            await wait(daemon, "worker.ready", worker=generation, registered=True, timeout=120)
            for room in spared:
                assert (await answered(daemon, room))["worker"] == rows[room]["worker"]
        assert await asyncio.to_thread(daemon.terminate, 60) == 0


async def test_a_stopped_worker_is_suspected_killed_and_replaced(tmp_path, local):  # noqa: F811
    with supervised(tmp_path, local, workers=2) as daemon:
        await ready(daemon, 2)
        os.kill(daemon.worker("0.1")["pid"], signal.SIGSTOP)
        await wait(daemon, "worker.suspect", worker="0.1")
        await wait(daemon, "worker.killing", worker="0.1", reason="hung")
        stack = await wait(daemon, "worker.stack", worker="0.1")
        assert "no process of it wrote a stack" in stack.get("detail", "") or stack["stack"]
        await wait(daemon, "worker.exited", worker="0.1", verdict="killed")
        await wait(daemon, "worker.ready", worker="0.2", registered=True, timeout=120)
        assert daemon.worker("1.1")["phase"] == "ready"
        assert await asyncio.to_thread(daemon.terminate, 60) == 0
        assert daemon.left_behind() == []


async def test_sigterm_lets_every_call_finish(tmp_path, local):  # noqa: F811
    with supervised(tmp_path, local, workers=2) as daemon:
        await ready(daemon, 2)
        async with calling(local.server, "last") as caller:
            await answered(daemon, "last")
            await caller.hear(30, since=0)
            daemon.process.send_signal(signal.SIGTERM)
            await wait(daemon, "supervisor.stopping")
            await caller.silence(1.0, within=30)
            ended = await caller.say(PHRASES[0])
            await caller.hear(30, since=ended)
            assert daemon.process.poll() is None
        assert await asyncio.to_thread(daemon.end, 60) == 0
        assert daemon.events("call.ended", room="last")
        assert not daemon.events("call.lost")
        assert daemon.left_behind() == []


async def test_a_wrong_secret_is_said_once_and_restarts_nobody(tmp_path, local):  # noqa: F811
    server = dataclasses.replace(local.server, api_secret="this-is-the-wrong-secret-0123456789")
    with supervised(tmp_path, dataclasses.replace(local, livekit=server), workers=2) as daemon:
        held = await wait(daemon, "pool.held", timeout=120)
        assert "401" in held["detail"]
        await asyncio.sleep(12)  # longer than LiveKit's own pause between two attempts
        assert len(daemon.events("pool.held")) == 1
        assert not daemon.events("worker.exited")
        assert not [r for r in daemon.events("worker.log") if r["level"] in ("warning", "error")]
        assert {row["worker"] for row in daemon.status()["workers"]} == {"0.1", "1.1"}
        assert "this-is-the-wrong-secret" not in daemon.tail(100_000)
        assert await asyncio.to_thread(daemon.terminate, 60) == 0
