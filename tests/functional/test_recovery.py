"""Recovery from end to end, but for LiveKit and the agents: the real daemon, stub workers, a stand-in of the API."""

import asyncio

import psutil
import pytest

from functional.daemon import Daemon, stub
from functional.twirp import KEY, SECRET, serving

ROOM, JOB = "0.1-r0", "0.1-j0"
"""What the stub reports as the call of the first worker."""


def daemon(tmp_path, url, secret=SECRET, **settings):
    credentials = {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": secret}
    environ = {f"MINDBOT_{name}": value for name, value in settings.items()}
    return Daemon(tmp_path, "--workers", "2", *stub("call", "segv@0.1"), environ={**credentials, **environ})


async def test_the_call_of_a_crashed_worker_is_recovered_and_counted(tmp_path):
    async with serving() as twirp:
        twirp.call(ROOM, JOB, metadata="theirs")
        with daemon(tmp_path, twirp.url) as running:
            recovered = await asyncio.to_thread(running.wait, "call.recovered", room=ROOM)
            assert recovered["seconds"] < 1.0
            assert recovered["identity"] in twirp.agents(ROOM)
            assert twirp.dispatches[ROOM][0]["metadata"] == "theirs"
            calls = running.status()["calls"]
            assert (calls["recovered"], calls["lost"]) == (1, 0)
            table = await asyncio.to_thread(running.client, "status")
            assert "1 recovered" in table.stdout


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param({"status": 401}, "livekit refused the credentials (401)", id="401"),
        pytest.param({"delay": 3.0}, "livekit did not answer within 0.4 s", id="slow"),
    ],
)
async def test_where_livekit_refuses_it_is_said_once_per_attempt_and_the_call_is_lost(tmp_path, fault, why):
    async with serving() as twirp:
        twirp.call(ROOM, JOB)
        for name, value in fault.items():
            setattr(twirp, name, value)
        with daemon(tmp_path, twirp.url, RECOVERY__DEADLINE="0.4", RECOVERY__ATTEMPTS="2") as running:
            lost = await asyncio.to_thread(running.wait, "call.lost", room=ROOM)
            assert (lost["detail"], lost["attempts"]) == (why, 2)
            assert len([each for each in running.events(room=ROOM) if each.get("detail") == why]) == 2
            assert running.status()["calls"]["lost"] == 1
            assert SECRET not in running.tail(10_000)
            assert "eyJ" not in running.tail(10_000)
            twirp.delay = 0.0


async def test_an_open_recovery_does_not_hold_up_the_end(tmp_path):
    async with serving() as twirp:
        twirp.call(ROOM, JOB)
        twirp.joins_after = None
        with daemon(tmp_path, twirp.url, RECOVERY__DEADLINE="60") as running:
            await asyncio.to_thread(running.wait, "call.recovering", room=ROOM)
            assert await asyncio.to_thread(running.client, "stop", "--now")
            assert await asyncio.to_thread(running.end, 10) == 0
            assert running.events("call.lost", room=ROOM)
            assert running.left_behind() == []


async def test_the_daemon_stays_small(tmp_path):
    async with serving() as twirp:
        with daemon(tmp_path, twirp.url) as running:
            await asyncio.to_thread(running.wait, "call.ended", room=ROOM, outcome="alone")
            process = psutil.Process(running.process.pid)
            assert process.memory_full_info().pss < 60 * 1024 * 1024
            assert not [each.path for each in process.memory_maps() if "livekit" in each.path]
