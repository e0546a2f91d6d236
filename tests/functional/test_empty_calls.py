"""A call means somebody in a room: jobs whose room is gone are ended, and a stop waits for nobody else."""

import asyncio
import subprocess
import time

import psutil
import pytest

from functional.test_contested import telling
from functional.twirp import serving

GONE = {"room": "r", "job": "AJ_1", "identity": "agent-AJ_1", "pid": "CHILD"}
SOON = {"POOL__GONE_ROOM_TIMEOUT": "2", "POOL__STOP_TIMEOUT": "2"}


async def test_a_job_whose_room_is_gone_is_ended_and_its_call_counted(tmp_path):
    async with serving() as twirp:
        steps = {0: [[0.0, {"calls": [GONE]}], [1.0, {"calls": [{**GONE, "gone": 0.1}]}]]}
        with telling(tmp_path, twirp.url, steps, **SOON) as daemon:
            started = await asyncio.to_thread(daemon.wait, "call.started", room="r")
            job = (await asyncio.to_thread(daemon.until, lambda: daemon.worker("0.1")))["calls"][0]["pid"]
            told = await asyncio.to_thread(daemon.wait, "call.gone", room="r")
            assert (told["worker"], told["job"], told["process"], told["limit"]) == ("0.1", "AJ_1", job, 2.0)
            ended = daemon.wait("call.ended", room="r")
            assert ended["outcome"] == "room_gone"
            await asyncio.to_thread(daemon.until, lambda: has_ended(job))
            row = daemon.worker("0.1")
            assert (row["phase"], row["calls"]) == ("ready", [])
            calls = daemon.status()["calls"]
            assert (calls["active"], calls["ended"], calls["lost"]) == (0, 1, 0)
            assert not daemon.events("call.recovering")
            assert started["worker"] == "0.1"
            assert len(daemon.events("call.gone")) == 1


@pytest.fixture
def stranger():
    """A process that has nothing to do with any worker."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


async def test_a_pid_that_is_none_of_its_own_processes_is_left_alone(tmp_path, stranger):
    async with serving() as twirp:
        steps = {0: [[0.0, {"calls": [{**GONE, "pid": stranger.pid, "gone": 0.0}]}]]}
        with telling(tmp_path, twirp.url, steps, **SOON) as daemon:
            told = await asyncio.to_thread(daemon.wait, "call.gone", room="r")
            assert "left alone" in told["detail"]
            await asyncio.to_thread(daemon.until, lambda: daemon.status()["calls"].get("ended") == 1)
            assert stranger.poll() is None


async def test_the_worker_itself_is_not_ended_for_a_call(tmp_path):
    async with serving() as twirp:
        steps = {0: [[0.0, {"calls": [{**GONE, "pid": "OWN", "gone": 0.0}]}]]}
        with telling(tmp_path, twirp.url, steps, **SOON) as daemon:
            await asyncio.to_thread(daemon.wait, "call.gone", room="r")
            assert daemon.worker("0.1")["phase"] == "ready"


async def test_livekit_is_asked_whether_the_rooms_of_live_calls_are_there(tmp_path):
    async with serving() as twirp:
        twirp.call("r", "AJ_1")
        with telling(tmp_path, twirp.url, {0: [[0.0, {"calls": [GONE]}]]}, **SOON) as daemon:
            await asyncio.to_thread(daemon.until, lambda: twirp.asked.count("ListRooms") >= 2)
            assert not daemon.events("call.ended")
            del twirp.rooms["r"]
            told = await asyncio.to_thread(daemon.wait, "call.gone", room="r")
            assert told["value"] >= 2
            assert daemon.status()["calls"]["ended"] == 1


async def test_a_room_that_this_livekit_never_had_says_nothing(tmp_path):
    async with serving() as twirp:
        with telling(tmp_path, twirp.url, {0: [[0.0, {"calls": [GONE]}]]}, **SOON) as daemon:
            await asyncio.to_thread(daemon.until, lambda: twirp.asked.count("ListRooms") >= 8)
            assert not daemon.events("call.ended")
            assert daemon.status()["calls"]["active"] == 1


async def test_a_stop_waits_for_a_job_whose_room_is_gone_for_its_own_time_only(tmp_path):
    async with serving() as twirp:
        steps = {0: [[0.0, {"calls": [{**GONE, "gone": 0.0}]}], [0.0, "hang"]]}
        with telling(tmp_path, twirp.url, steps, **SOON) as daemon:
            await asyncio.to_thread(daemon.wait, "call.started", room="r")
            began = time.monotonic()
            assert await asyncio.to_thread(daemon.terminate) == 0
            assert time.monotonic() - began < 20
            assert daemon.events("call.ended", room="r", outcome="room_gone")
            assert daemon.left_behind() == []


async def test_a_worker_without_calls_that_ignores_term_has_stop_timeout_and_not_the_drains(tmp_path):
    async with serving() as twirp:
        with telling(tmp_path, twirp.url, {0: [[0.0, "hang"], [0.5, {"calls": []}]]}, **SOON) as daemon:
            await asyncio.to_thread(daemon.ready, 2)
            await asyncio.sleep(1.0)  # it ignores the signal by then
            began = time.monotonic()
            assert await asyncio.to_thread(daemon.terminate) == 0
            assert time.monotonic() - began < 20
            (killed,) = daemon.events("worker.killing", worker="0.1")
            assert (killed["reason"], killed["limit"]) == ("drain_timeout", 2.0)


async def test_a_stop_waits_for_a_call_with_somebody_in_it_and_not_for_an_agent_alone(tmp_path):
    async with serving() as twirp:
        attended = {"room": "full", "job": "AJ_2", "pid": "CHILD", "present": True}
        alone = {**attended, "present": False}
        steps = {0: [[0.0, {"calls": [attended]}], [6.0, {"calls": [alone]}]]}
        with telling(tmp_path, twirp.url, steps, **SOON) as daemon:
            await asyncio.to_thread(daemon.wait, "call.started", room="full")
            began = time.monotonic()
            assert await asyncio.to_thread(daemon.terminate) == 0
            assert time.monotonic() - began < 30
            assert daemon.events("worker.killing", worker="0.1")[0]["calls"] == 0
            (killed,) = daemon.events("worker.killing", worker="0.1")
            assert killed["reason"] == "drain_timeout"


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
