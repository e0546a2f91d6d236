"""Calls in the heartbeat: when they begin, what goes wrong in them, how they end."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from mindbot_worker.protocol import heartbeat


def test_beats_come_from_the_first_moment_and_a_call_appears_within_a_second(start_worker: Any) -> None:
    worker = start_worker(
        """
        async def call(ctx):
            print("LAUNCHED", time.monotonic(), flush=True)
            await asyncio.sleep(2)
        simulate("r1")
        """
    )
    first = worker.beat(lambda b: True, source=heartbeat.FROM_THREAD)
    assert first.state == heartbeat.STARTING
    live = worker.beat(lambda b: b.calls)
    launched = float(worker.wait(lambda: [line for line in worker.out if line.startswith("LAUNCHED")])[0].split()[1])
    assert worker.received_at(live) - launched < 1.0
    assert (live.calls[0].room, live.state, live.registered) == ("r1", heartbeat.READY, None)
    assert live.calls[0].pid in live.pids and live.calls[0].job and live.calls[0].identity
    assert abs(live.calls[0].started - time.time()) < 60
    ended = worker.beat(lambda b: b.ended)
    assert ended.ended == (heartbeat.Ended("r1", live.calls[0].job, heartbeat.COMPLETED),)
    assert not worker.bad_lines and ended.errors_total == 0 and ended.jobs_started == 1


def test_a_crashed_entrypoint_is_a_failed_call_although_livekit_calls_it_a_success(start_worker: Any) -> None:
    worker = start_worker(
        """
        async def call(ctx):
            await asyncio.sleep(1)
            print("RAISED", time.monotonic(), flush=True)
            raise ValueError("no such caller")
        simulate("r1")
        """
    )
    counted = worker.beat(lambda b: b.errors_by.get("job"))
    raised = float(worker.wait(lambda: [line for line in worker.out if line.startswith("RAISED")])[0].split()[1])
    assert worker.received_at(counted) - raised < 1.0
    ended = worker.beat(lambda b: b.ended)
    assert ended.ended[0].outcome == heartbeat.FAILED
    assert (ended.errors_total, ended.errors_fatal, dict(ended.errors_by)) == (1, 1, {"job": 1})
    assert ended.jobs_failed == 1
    crash = worker.wait(lambda: [r for r in worker.records("worker.log") if "unhandled exception" in r["message"]])[0]
    assert "no such caller" in crash["error"] and crash["room"] == "r1" and crash["job"] == ended.ended[0].job
    assert "Traceback" not in crash["message"] and "Traceback" in crash["traceback"]


def test_a_killed_job_process_is_told_as_killed_and_leaves_the_worker_serving(start_worker: Any) -> None:
    worker = start_worker(
        """
        async def call(ctx):
            await asyncio.sleep(60)
        simulate("r1")
        """
    )
    live = worker.beat(lambda b: b.calls).calls[0]
    os.kill(live.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    ended = worker.beat(lambda b: b.ended, within=10)
    assert worker.received_at(ended) - killed_at < 1.0
    assert ended.ended == (heartbeat.Ended("r1", live.job, heartbeat.KILLED),)
    assert (ended.jobs_failed, ended.errors_fatal, dict(ended.errors_by)) == (1, 1, {"crash": 1})
    assert not ended.calls and ended.state == heartbeat.READY
    # each end is repeated for a while, then forgotten
    worker.beat(lambda b: not b.ended, within=15, after=ended.seq)


def test_errors_and_states_of_a_session_arrive_without_a_change_to_the_agent(start_worker: Any) -> None:
    worker = start_worker(
        """
        from livekit.agents import Agent, AgentSession, APIConnectionError, ErrorEvent
        from livekit.agents.llm import LLMError
        from livekit.agents.stt import STTError

        async def call(ctx):
            session = AgentSession(vad=None, turn_handling={"turn_detection": None})
            await session.start(Agent(instructions="none"))
            failed = APIConnectionError("the provider is away")
            for error in (
                LLMError(timestamp=0, label="llm", error=failed, recoverable=True),
                STTError(timestamp=0, label="stt", error=failed, recoverable=False),
            ):
                session.emit("error", ErrorEvent(error=error, source=None))
            await asyncio.sleep(2)
        simulate("r1")
        """
    )
    listening = worker.beat(lambda b: b.calls and b.calls[0].state == "listening")
    assert listening.calls[0].idle < 5
    counted = worker.beat(lambda b: b.errors_total == 2)
    assert (dict(counted.errors_by), counted.errors_fatal) == ({"llm": 1, "stt": 1}, 1)
    kinds = {
        record["kind"]
        for record in worker.wait(lambda: worker.records("job.error")[1:] and worker.records("job.error"))
    }
    assert kinds == {"llm", "stt"}
    assert worker.beat(lambda b: b.ended).ended[0].outcome == heartbeat.COMPLETED


def test_job_processes_that_cannot_start_are_counted_as_a_storm(start_worker: Any) -> None:
    worker = start_worker(
        """
        def broken(proc):
            raise RuntimeError("no model file")
        server.setup_fnc = broken
        async def call(ctx): ...
        """
    )
    storm = worker.beat(lambda b: b.jobs_storm >= 3)
    assert storm.errors_by["init"] >= 3 and storm.errors_fatal >= 3 and storm.state == heartbeat.STARTING


def test_synthetic_calls_are_live_calls_and_end(start_worker: Any) -> None:
    worker = start_worker(
        """
        async def call(ctx):
            assert ctx.is_fake_job()
            await asyncio.sleep(0.3)
        """,
        MINDBOT_WORKER__SYNTHETIC_INTERVAL="1",
    )
    assert worker.beat(lambda b: b.calls).calls[0].room.startswith("synthetic-")
    second = worker.beat(lambda b: b.jobs_started >= 2)
    assert second.errors_total == 0
