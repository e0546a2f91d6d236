"""The local stack with the real livekit-server: it stays on loopback, leaves room for others, and leaves nothing."""

from __future__ import annotations

import signal

import psutil
import pytest

from live.caller import calling
from live.livekit import MISSING, find_livekit_server, running_local, skip_or_fail

pytestmark = pytest.mark.live


async def test_two_stacks_run_side_by_side_on_loopback_and_leave_nothing() -> None:
    path = find_livekit_server()
    if path is None:
        skip_or_fail(MISSING)
    with running_local(livekit_server=path) as first, running_local(livekit_server=path) as second:
        servers = [psutil.Process(stack.process.pid).children()[0] for stack in (first, second)]
        async with calling(first.server, "room"), calling(second.server, "room") as caller:
            assert caller.room.remote_participants == {}, "the two share a room"
            bound = [each for server in servers for each in server.net_connections() if each.laddr]
            assert {each.laddr.ip for each in bound} <= {"127.0.0.1", "::ffff:127.0.0.1"}
        first.process.send_signal(signal.SIGKILL)
        assert not psutil.wait_procs(servers[:1], timeout=5)[1]
    assert not psutil.wait_procs(servers, timeout=5)[1]
