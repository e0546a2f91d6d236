"""A room is deleted under an agent that does not let itself be cancelled: its job is ended, and nobody waits for it."""

from __future__ import annotations

import asyncio
import time

import pytest
from livekit import api

from live.caller import attending
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised, wait, worker_of

pytestmark = pytest.mark.live

AGENT = """
import asyncio
from livekit.agents import AgentServer

server = AgentServer()

@server.rtc_session()
async def call(context):
    await context.connect()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""


@pytest.fixture
def pool(tmp_path, local):  # noqa: F811
    (tmp_path / "stubborn.py").write_text(AGENT)
    limits = {"POOL__GONE_ROOM_TIMEOUT": "4", "POOL__STOP_TIMEOUT": "4"}
    with supervised(tmp_path, local, "--agent", "stubborn:server", workers=1, **limits) as daemon:
        yield daemon


async def delete(stack, room):
    async with api.LiveKitAPI(stack.server.url, stack.server.api_key, stack.server.api_secret) as livekit:
        await livekit.room.delete_room(api.DeleteRoomRequest(room=room))


async def test_a_job_whose_room_was_deleted_is_ended_and_its_seat_is_free(pool, local):  # noqa: F811
    await ready(pool, 1)
    async with attending(local.server, "deleted"):
        row = await answered(pool, "deleted")
        await asyncio.to_thread(pool.until, lambda: call_of(pool, "deleted").get("present") is True)
        await delete(local, "deleted")
        told = await wait(pool, "call.gone", room="deleted", timeout=60)
    assert told["process"] == row["calls"][0]["pid"]
    ended = await wait(pool, "call.ended", room="deleted")
    assert ended["outcome"] == "room_gone"
    await asyncio.to_thread(pool.until, lambda: pool.status()["calls"]["active"] == 0)
    assert not pool.events("call.recovering")
    assert not pool.events("worker.exited")
    async with attending(local.server, "next"):
        await answered(pool, "next")


async def test_a_stop_does_not_wait_an_hour_for_it(pool, local):  # noqa: F811
    await ready(pool, 1)
    async with attending(local.server, "deleted"):
        await answered(pool, "deleted")
        await asyncio.to_thread(pool.until, lambda: call_of(pool, "deleted").get("present") is True)
        await delete(local, "deleted")
    began = time.monotonic()
    assert await asyncio.to_thread(pool.terminate, 90) == 0
    assert time.monotonic() - began < 60
    assert pool.left_behind() == []


def call_of(daemon, room):
    row = worker_of(daemon, room)
    return next((call for call in row["calls"] if call["room"] == room), {}) if row else {}
