"""Real calls whose job process stands still: who is to blame is told with file and line, and the caller is not left
alone with it; and where the whole host stood still, nobody is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import psutil
import pytest

from live.caller import calling
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised, wait

pytestmark = pytest.mark.live

AGENT = """
import asyncio, ctypes, pathlib, time
from livekit.agents import AgentServer

server = AgentServer()

def look_up_the_customer():
    time.sleep(600)  # a synchronous request to a server that does not answer

def compute():
    while True:
        ctypes.PyDLL(None).sleep(600)  # in C, with the interpreter's lock held

BLOCKS = {"request": look_up_the_customer, "native": compute}

@server.rtc_session()
async def entrypoint(context):
    await context.connect()
    room = context.job.room.name
    first = pathlib.Path(f"{room}.once")
    if room in BLOCKS and not first.exists():
        first.touch()
        await asyncio.sleep(1)
        BLOCKS[room]()
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory, local):  # noqa: F811
    folder = tmp_path_factory.mktemp("stalled")
    (folder / "own.py").write_text(AGENT)
    with supervised(folder, local, "--agent", "own:server", workers=2, LIMITS__HUNG_AFTER="6") as daemon:
        yield daemon
        assert daemon.terminate(90) == 0
        assert not daemon.events("call.lost")
        assert not daemon.events("supervisor.bug")
        assert daemon.left_behind() == []


def job_of(daemon, room: str) -> dict:
    calls = [call for row in daemon.status()["workers"] for call in row["calls"]]
    return next((call for call in calls if call["room"] == room), {})


@pytest.mark.parametrize(("room", "function"), [("request", "look_up_the_customer"), ("native", "compute")])
async def test_an_agent_that_blocks_its_loop_is_told_by_file_and_line_and_its_caller_has_another_one(
    pool,
    local,  # noqa: F811
    room,
    function,
):
    await ready(pool, 2)
    async with calling(local.server, room):
        stalled = await wait(pool, "call.stalled", room=room, timeout=60)
        assert stalled["where"].endswith(f"in {function}")
        assert "own.py:" in stalled["where"]
        assert f"in {function}" in stalled["stack"]
        hung = await wait(pool, "call.hung", room=room)
        assert hung["process"] == stalled["process"]
        recovering = await wait(pool, "call.recovering", room=room)
        assert recovering["reason"] == "hung"
        recovered = await wait(pool, "call.recovered", room=room, timeout=60)
        assert recovered["seconds"] < 15
        again = await asyncio.to_thread(pool.until, lambda: job_of(pool, room))
        assert again["pid"] != hung["process"]
        assert pool.worker(stalled["worker"])["phase"] == "ready", "its worker goes on"
    await wait(pool, "call.ended", room=room, timeout=60)


async def test_a_stopped_job_process_is_noticed_in_seconds_and_its_call_goes_on(pool, local):  # noqa: F811
    await ready(pool, 2)
    async with calling(local.server, "stopped"):
        await answered(pool, "stopped")
        pid = job_of(pool, "stopped")["pid"]
        os.kill(pid, signal.SIGSTOP)
        stalled = await wait(pool, "call.stalled", room="stopped")
        assert "state T" in stalled["detail"]
        recovered = await wait(pool, "call.recovered", room="stopped")
        assert recovered["reason"] == "hung"
        await asyncio.to_thread(pool.until, lambda: job_of(pool, "stopped").get("pid") not in (None, pid))
        assert not psutil.pid_exists(pid)


async def test_all_of_it_frozen_for_a_while_costs_nobody_his_life(pool, local):  # noqa: F811
    await ready(pool, 2)
    async with calling(local.server, "frozen"):
        await answered(pool, "frozen")
        own = psutil.Process(pool.process.pid)
        family, before = [own, *own.children(recursive=True)], len(pool.records)
        for number, pause in ((signal.SIGSTOP, 15), (signal.SIGCONT, 12)):
            for each in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.send_signal(number)
            await asyncio.sleep(pause)
        told = [record["event"] for record in pool.records[before:]]
        assert "host.stalled" in told
        assert not {"worker.killing", "call.hung", "template.stopped"} & set(told)
        assert not any(record["event"] == "worker.exited" for record in pool.records[before:])
        await ready(pool, 2)
