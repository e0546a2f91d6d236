"""How a worker ends: after its calls, whatever is sent to it, and also when its supervisor is gone."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from mindbot_worker.protocol import heartbeat

LONG_CALL = """
    async def call(ctx):
        await asyncio.sleep(6)
        print("CALL FINISHED", flush=True)
    simulate("r1")
"""


def finished(worker: Any) -> bool:
    return any("CALL FINISHED" in line for line in worker.out)


def test_two_sigterms_are_one_drain_that_finishes_the_call(start_worker: Any) -> None:
    worker = start_worker(LONG_CALL)
    worker.beat(lambda b: b.calls)
    worker.signal(signal.SIGTERM)
    draining = worker.beat(lambda b: b.state == heartbeat.DRAINING)
    assert draining.calls
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)
    assert worker.exit() == 0 and finished(worker)
    assert worker.beat(lambda b: b.ended).ended[0].outcome == heartbeat.COMPLETED


def test_a_signal_to_the_whole_group_cuts_no_call(start_worker: Any) -> None:
    worker = start_worker(LONG_CALL)
    worker.beat(lambda b: b.calls)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        worker.signal(number, group=True)
    assert worker.exit() == 0 and finished(worker)
    ended = worker.beat(lambda b: b.ended)
    assert ended.ended[0].outcome == heartbeat.COMPLETED and ended.errors_total == 0


def test_the_end_of_the_leash_is_a_drain(start_worker: Any) -> None:
    worker = start_worker(LONG_CALL)
    worker.beat(lambda b: b.calls)
    worker.cut_leash()
    worker.beat(lambda b: b.state == heartbeat.DRAINING, within=10)
    assert worker.exit() == 0 and finished(worker)


def test_the_end_of_the_leash_is_noticed_while_the_agent_is_imported(start_worker: Any) -> None:
    worker = start_worker("import time; time.sleep(600)", prelude=False)
    worker.beat(lambda b: True, source=heartbeat.FROM_THREAD)
    worker.cut_leash()
    assert worker.exit(within=20) == 0


def test_sigterm_ends_a_worker_that_is_still_starting(start_worker: Any) -> None:
    worker = start_worker(
        """
        def slow(proc):
            time.sleep(600)
        server.setup_fnc = slow
        async def call(ctx): ...
        """
    )
    worker.beat(lambda b: len(b.pids) >= 3)
    worker.signal(signal.SIGTERM)
    assert worker.exit(within=30) == 0


def test_the_drain_deadline_ends_the_calls_and_is_still_a_drain(start_worker: Any) -> None:
    worker = start_worker(
        """
        async def call(ctx):
            ctx.add_shutdown_callback(bye)
            await asyncio.sleep(3600)
        async def bye():
            print("SHUTDOWN CALLBACK", flush=True)
        simulate("r1")
        """,
        MINDBOT_POOL__DRAIN_TIMEOUT="1",
    )
    worker.beat(lambda b: b.calls)
    worker.signal(signal.SIGTERM)
    # LiveKit waits 15 s for the entrypoint before it cancels it
    assert worker.exit(within=60) == 0
    assert any("SHUTDOWN CALLBACK" in line for line in worker.out)


def test_nothing_is_left_behind(start_worker: Any, tmp_path: Any) -> None:
    worker = start_worker("async def call(ctx): ...")
    pids = worker.beat(lambda b: b.state == heartbeat.READY).pids
    assert list(tmp_path.glob("*.sock"))
    worker.signal(signal.SIGTERM)
    assert worker.exit() == 0
    assert not list(tmp_path.glob("*.sock"))
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if _alive(pid)]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_dump_signal_does_not_kill_a_job(start_worker: Any, number: signal.Signals) -> None:
    worker = start_worker(LONG_CALL)
    live = worker.beat(lambda b: b.calls and b.calls[0].state).calls[0]
    worker.wait(lambda: any("initialized" in line for line in worker.out))
    os.kill(live.pid, number)
    worker.wait(lambda: any("Current thread" in line for line in worker.err), within=10)
    assert worker.beat(lambda b: b.ended).ended[0].outcome == heartbeat.COMPLETED
