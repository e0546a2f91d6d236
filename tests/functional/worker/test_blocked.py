"""A worker whose loop is blocked, or whose output nobody reads, still shows that it is alive."""

from __future__ import annotations

import signal
import time
from typing import Any

from mindbot_worker.protocol import heartbeat


def test_a_blocked_loop_stops_its_own_beats_and_not_the_threads(start_worker: Any) -> None:
    worker = start_worker(
        """
        def block():
            asyncio.get_running_loop().call_later(0.5, stuck_in_user_code)
        def stuck_in_user_code():
            print("BLOCKED", flush=True)
            time.sleep(6)
        server.on("worker_started", block)
        async def call(ctx): ...
        """
    )
    worker.wait(lambda: any("BLOCKED" in line for line in worker.out))
    blocked_at = worker.last_seq
    third = worker.beat(lambda b: b.seq >= blocked_at + 4, source=heartbeat.FROM_THREAD, within=10)
    during = [beat for _, beat in worker.beats if blocked_at + 1 < beat.seq < third.seq]
    assert {beat.source for beat in during} == {heartbeat.FROM_THREAD}
    worker.signal(signal.SIGUSR2)
    worker.wait(lambda: any("stuck_in_user_code" in line for line in worker.err), within=10)
    after = worker.beat(lambda b: b.lag_ms > 3000, within=20)
    assert after.state == heartbeat.READY


def test_a_stopped_process_sends_nothing(start_worker: Any) -> None:
    worker = start_worker("async def call(ctx): ...")
    worker.beat(lambda b: b.state == heartbeat.READY)
    worker.signal(signal.SIGSTOP)
    time.sleep(1)
    before = worker.last_seq
    time.sleep(2)
    assert worker.last_seq == before
    worker.signal(signal.SIGCONT)
    worker.beat(lambda b: True, after=before, within=10)


CHATTY = """
    async def call(ctx):
        for number in range(60):
            print("x" * 4000, flush=True)
            logging.getLogger("agent").warning("y" * 4000)
            await asyncio.sleep(0.05)
    import logging
    simulate("r1")
"""


def test_stdout_that_nobody_reads_blocks_neither_worker_nor_call(start_worker: Any) -> None:
    worker = start_worker(CHATTY, read_output=False)
    started = worker.beat(lambda b: b.calls)
    ended = worker.beat(lambda b: b.ended)
    assert ended.ended[0].outcome == heartbeat.COMPLETED
    assert worker.received_at(ended) - worker.received_at(started) < 15
    lag = max(beat.lag_ms for _, beat in worker.beats if beat.seq >= started.seq)
    assert lag < 1000
    worker.signal(signal.SIGTERM)
    assert worker.exit() == 0


def test_a_reader_that_left_kills_neither_worker_nor_call(start_worker: Any) -> None:
    worker = start_worker(CHATTY, read_output=False)
    worker.beat(lambda b: b.calls)
    worker.leave_output()
    assert worker.beat(lambda b: b.ended).ended[0].outcome == heartbeat.COMPLETED
    worker.signal(signal.SIGTERM)
    assert worker.exit() == 0


def test_a_supervisor_that_is_gone_altogether_costs_no_call(start_worker: Any) -> None:
    worker = start_worker(CHATTY, read_output=False)
    worker.beat(lambda b: b.calls)
    worker.cut_leash()
    worker.leave_output()
    assert worker.beat(lambda b: b.ended).ended[0].outcome == heartbeat.COMPLETED
    assert worker.exit() == 0
