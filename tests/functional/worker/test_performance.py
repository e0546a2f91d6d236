"""What a call's log says of its performance: blocked loops, slow functions, a summary at its end."""

from __future__ import annotations

from typing import Any

AGENT = """
    from livekit.agents.telemetry import loop_monitor
    from mindbot_worker import monitor_performance

    def warm_up(process):
        print("IDLE", os.environ["LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS"], flush=True)
    server.setup_fnc = warm_up

    @monitor_performance(slow_after=0.1)
    def think_hard():
        time.sleep(0.8)

    async def call(ctx):
        monitor = loop_monitor.get_monitor(asyncio.get_running_loop())
        print("CALL", monitor and monitor.warn_threshold, flush=True)
        think_hard()
        await asyncio.sleep(0.5)
    simulate("r1")
"""


def printed(worker: Any, word: str) -> str:
    line: str = worker.wait(lambda: next((line for line in worker.out if f"{word} " in line), None))
    return line


def test_a_call_that_blocks_its_loop_is_told_with_the_line_and_its_functions_are_summed_up(start_worker: Any) -> None:
    worker = start_worker(AGENT)
    assert "IDLE 0" in printed(worker, "IDLE")
    assert "CALL 0.25" in printed(worker, "CALL")
    (slow,) = worker.wait(lambda: worker.records("performance.slow"))
    assert (slow["function"], slow["level"], slow["room"]) == ("think_hard", "warning", "r1")
    assert slow["seconds"] >= 0.8 > slow["cpu"]
    (blocked,) = worker.wait(lambda: [r for r in worker.records("worker.log") if "loop blocked" in r["message"]], 10)
    assert "think_hard" in blocked["stack"] and blocked["room"] == "r1"
    (summary,) = worker.wait(lambda: worker.records("performance.summary"))
    assert summary["room"] == "r1"
    assert summary["functions"]["think_hard"] | {"p50": 0, "p95": 0, "max": 0, "cpu": 0} == {
        "count": 1, "p50": 0, "p95": 0, "max": 0, "cpu": 0, "slow": 1, "failed": 0,
    }  # fmt: skip


def test_switched_off_nothing_is_measured_and_the_users_own_threshold_holds(start_worker: Any) -> None:
    worker = start_worker(AGENT, MINDBOT_WORKER__MONITOR_PERFORMANCE="false", LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS="2000")
    assert "IDLE 0" in printed(worker, "IDLE")
    assert "CALL 2.0" in printed(worker, "CALL")
    worker.beat(lambda b: b.ended)
    assert not worker.records("performance.slow") and not worker.records("performance.summary")
