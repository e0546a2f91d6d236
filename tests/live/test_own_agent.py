"""An agent of one's own with the helpers of mindbot_worker: nothing of them needs MindBot."""

from __future__ import annotations

import asyncio

import pytest

from live.caller import calling
from live.livekit import local  # noqa: F401 (a fixture)
from live.supervised import answered, ready, supervised, wait
from live.test_failing import gone

pytestmark = pytest.mark.live

AGENT = """
import asyncio
from livekit import rtc
from livekit.agents import AgentServer
from mindbot_worker import connect_with_retry, notify_error, robust_entrypoint

server = AgentServer()

@server.rtc_session()
@robust_entrypoint(apology="", on_failure="close")
async def call(context):
    if context.job.room.name == "unreachable":
        context._info.url = "ws://127.0.0.1:1"
    await connect_with_retry(context, retries=6)
    if context.job.room.name == "unsteady":
        for _ in range(2):
            again = asyncio.Event()
            context.room.once("reconnected", lambda: again.set())
            await context.room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
            await asyncio.wait_for(again.wait(), 30)
    try:
        {}["order"]
    except KeyError as error:
        notify_error(error)
    raise RuntimeError("out of order")
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory, local):  # noqa: F811
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(AGENT)
    with supervised(folder, local, "--agent", "own:server", workers=1, LIMITS__MAX_DISCONNECTS="2") as daemon:
        yield daemon
        assert not daemon.events("worker.exited")
        assert daemon.terminate(60) == 0


async def test_what_an_agent_raises_is_told_once_and_the_line_ends(pool, local):  # noqa: F811
    await ready(pool, 1)
    async with calling(local.server, "broken") as caller:
        await asyncio.wait_for(gone(caller).wait(), 60)
    await wait(pool, "call.lost", room="broken", outcome="failed")
    await asyncio.to_thread(pool.until, lambda: len(pool.events("agent.error", room="broken")) >= 2)
    told = pool.events("agent.error", room="broken")
    assert [(each["kind"], each["reason"]) for each in told] == [
        ("agent", "KeyError: 'order'"),
        ("job", "RuntimeError: out of order"),
    ]
    assert pool.status()["workers"][0]["errors_by"] == {"agent": 1, "job": 1}
    assert "Traceback" not in pool.tail(100_000)


async def test_a_connection_that_comes_and_goes_is_told_with_its_causes(pool, local):  # noqa: F811
    await ready(pool, 1)
    async with calling(local.server, "unsteady") as caller:
        await asyncio.wait_for(gone(caller).wait(), 90)
    await wait(pool, "room.disconnected", room="unsteady")  # the log comes a moment after the caller's own view
    lost, back = (pool.events(f"room.{each}", room="unsteady") for each in ("reconnecting", "reconnected"))
    assert len(lost) == len(back) == 2
    assert all(0 < each["seconds"] < 30 for each in back)
    told = await wait(pool, "agent.error", room="unsteady", kind="disconnects")
    assert told["causes"] and told["measured"]["loop_lag"] >= 0
    left = await wait(pool, "room.disconnected", room="unsteady")
    assert left["reason"] in ("ROOM_DELETED", "CLIENT_INITIATED"), "whichever of the two comes first"


async def test_nobody_is_waited_for_who_has_hung_up_before_the_agent_came(pool, local):  # noqa: F811
    await ready(pool, 1)
    async with calling(local.server, "unreachable"):
        await answered(pool, "unreachable")
        await wait(pool, "job.connect_retried", room="unreachable", attempt=2)
    ended = await wait(pool, "call.ended", room="unreachable", timeout=60)
    assert ended["outcome"] == "completed"
    assert not pool.events("agent.error", room="unreachable")
    assert len(pool.events("job.connect_retried", room="unreachable")) < 6
