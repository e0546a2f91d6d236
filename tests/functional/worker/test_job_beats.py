"""The heartbeat tells of each call how long ago its job process's own event loop last went round."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from mindbot_worker.protocol import heartbeat

BLOCKED = """
        import ctypes
        def spin():
            until = time.monotonic() + 4
            while time.monotonic() < until: pass
        BLOCKS = {"python": lambda: time.sleep(4), "c": lambda: ctypes.PyDLL(None).sleep(4), "spin": spin}
        async def call(ctx):
            await asyncio.sleep(1.5)
            BLOCKS.get(ctx.job.room.name, int)()
            await asyncio.sleep(60)
        simulate("python", "c", "spin", "fine")
        """
"""In Python code; in C code with the interpreter's lock held; in a loop that never waits."""


def ages(beat: heartbeat.Beat) -> dict[str, float]:
    return {call.room: call.beat_age for call in beat.calls if call.beat_age is not None}


def test_a_blocked_loop_shows_in_its_calls_entry_and_so_does_its_end(start_worker: Any) -> None:
    worker = start_worker(BLOCKED)
    for room in ("python", "c", "spin"):
        silent = worker.beat(lambda b, room=room: ages(b).get(room, 0) >= 2.5)
        assert silent.lag_ms < 2000, "the worker's own loop goes round"
        worker.beat(lambda b, room=room: ages(b).get(room, 9) < 1.5, after=silent.seq)
    assert max(ages(beat).get("fine", 0) for _, beat in worker.beats) < 2.5


def test_a_stopped_job_process_shows_and_when_it_goes_on_too(start_worker: Any) -> None:
    worker = start_worker("async def call(ctx): await asyncio.sleep(60)\nsimulate('r1')")
    live = worker.beat(lambda b: b.calls and b.calls[0].beat_age is not None)
    assert live.calls[0].beat_age < 5
    os.kill(live.calls[0].pid, signal.SIGSTOP)
    silent = worker.beat(lambda b: b.calls and (b.calls[0].beat_age or 0) >= 3, after=worker.last_seq, within=15)
    os.kill(live.calls[0].pid, signal.SIGCONT)
    worker.beat(lambda b: b.calls and b.calls[0].beat_age < 1.5, after=silent.seq, within=15)


def test_a_process_that_was_stopped_before_its_first_call_is_silent_from_the_calls_start_on(start_worker: Any) -> None:
    worker = start_worker(
        """
        async def call(ctx): await asyncio.sleep(60)
        def later():
            async def start():
                while not os.path.exists("go"):
                    await asyncio.sleep(0.1)
                await server.simulate_job("r1", fake_job=True)
            asyncio.get_running_loop().create_task(start())
        server.on("worker_started", later)
        """
    )
    ready = worker.beat(lambda b: b.state == heartbeat.READY)
    idle = worker.beat(lambda b: idle_jobs(b), after=ready.seq - 1)
    for pid in idle_jobs(idle):
        os.kill(pid, signal.SIGSTOP)
    (worker.directory / "go").touch()
    silent = worker.beat(lambda b: b.calls and (b.calls[0].beat_age or 0) >= 2, within=30)
    assert silent.calls[0].beat_age < 20


def test_a_worker_keeps_nothing_of_a_call_that_is_over(start_worker: Any) -> None:
    worker = start_worker("async def call(ctx): await asyncio.sleep(1)\nsimulate('r1', 'r2')")
    ended = worker.beat(lambda b: len(b.ended) == 2 and not b.calls)
    worker.wait(lambda: memory_files(worker.process.pid) <= len(ended.pids), within=20)


def idle_jobs(beat: heartbeat.Beat) -> list[int]:
    """Job processes that wait for a call: they have taken signals for their worker's business by then."""
    return [pid for pid in beat.pids if is_job(pid)]


def is_job(pid: int) -> bool:
    return memory_files(pid) > 0


def memory_files(pid: int) -> int:
    """Files of beats that this process has open."""
    try:
        return sum("mindbot-job-beat" in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0
