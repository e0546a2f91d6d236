"""What all workers suffer from together restarts none of them: LiveKit away, a provider refusing."""

import asyncio
import contextlib
import os
import socket

import pytest

from live.caller import load_phrases
from live.livekit import find_livekit_server, local, running_local  # noqa: F401 (local is a fixture)
from live.supervised import calls_on, ready, supervised, wait

PHRASES = list(load_phrases())
AWAY = float(os.environ.get("OUTAGE_SECONDS", "25"))
"""Seconds without LiveKit: longer than its workers' pause between two attempts, and than what counts as an outage."""
WORKERS = int(os.environ.get("OUTAGE_WORKERS", "2"))
pytestmark = [pytest.mark.live, pytest.mark.timeout(400 + AWAY)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_livekit_away_and_back_restarts_nobody_and_is_said_once(tmp_path, local):  # noqa: F811
    port = str(free_port())
    server = find_livekit_server()
    with contextlib.ExitStack() as stack:
        livekit = stack.enter_context(running_local("--livekit-port", port, "--livekit-server", str(server)))
        daemon = stack.enter_context(supervised(tmp_path, livekit, workers=WORKERS))
        await ready(daemon, WORKERS)
        livekit.process.stdin.close()
        await asyncio.to_thread(livekit.process.wait, 30)
        held = await wait(daemon, "pool.held", reason="unregistered")
        assert "livekit" in held["detail"].lower()
        await asyncio.sleep(AWAY)
        with running_local("--livekit-port", port, "--livekit-server", str(server)) as back:
            assert back.server.url == livekit.server.url
            await wait(daemon, "pool.released", timeout=60)
            await asyncio.to_thread(
                daemon.until, lambda: all(row["registered"] for row in daemon.status()["workers"]), 60
            )
            assert {row["worker"] for row in daemon.status()["workers"]} == {f"{slot}.1" for slot in range(WORKERS)}
            assert not daemon.events("worker.exited")
            assert len(daemon.events("pool.held")) == len(daemon.events("pool.released")) == 1
            assert await asyncio.to_thread(daemon.terminate, 60) == 0


async def test_a_provider_that_refuses_everybody_restarts_nobody(tmp_path, local):  # noqa: F811
    local.forget()
    settings = {"LIMITS__MAX_ERRORS": "1"}
    with supervised(tmp_path, local, workers=2, **settings) as daemon:
        await ready(daemon, 2)
        local.break_next("llm", "status", status=500, times=1000)
        async with contextlib.AsyncExitStack() as stack:
            by_room, _ = await calls_on(daemon, local.server, stack, "refused", workers=2)
            callers = list(by_room.values())
            for caller in callers:
                await caller.hear(30, since=0)
                await caller.silence(1.0, within=30)
            await asyncio.gather(*(caller.say(PHRASES[0]) for caller in callers))
            held = await wait(daemon, "pool.held", timeout=60)
            assert held["reason"] == "errors"
            await asyncio.sleep(5)
        local.forget()
        assert {row["worker"] for row in daemon.status()["workers"]} == {"0.1", "1.1"}
        assert not daemon.events("worker.exited")
        assert len(daemon.events("pool.held")) == 1
        assert await asyncio.to_thread(daemon.terminate, 60) == 0
