"""What a worker costs that has no call, by how LiveKit's loop monitor is set: `python bench/idle_worker.py [SECONDS]`.

One MindBot worker with 4 warm job processes, not registered. CPU is user and system time of its whole process tree in
percent of one core, by process, over a quiet stretch (default: 30 s). Prints a Markdown table.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

BENCH = Path(__file__).parent
sys.path[:0] = [str(BENCH.parent / name) for name in ("worker", "config", "tests")]

from functional.worker.conftest import Worker  # noqa: E402
from mindbot_worker.protocol import heartbeat  # noqa: E402

SETTLE = 8.0
"""Seconds until nothing of the start is still going on."""
IDLE_PROCESSES = 4
ROWS = {
    "in every job process, from 100 ms on (LiveKit's default; 50 ticks a second)": "100",
    "in every job process, from 500 ms on (20 ticks a second)": "500",
    "in calls only (ours)": "",
}


def measure(setting: str, seconds: float) -> tuple[float, float]:
    """CPU percent of the worker itself, and of each of its job processes on average."""
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder), ["--agent", "idle_agent:server"], environ(setting), read_output=True)
        try:
            worker.beat(lambda beat: beat.state == heartbeat.READY)
            jobs = worker.wait(lambda: warm(worker.process.pid))
            time.sleep(SETTLE)
            before = [busy(psutil.Process(worker.process.pid)), sum(busy(each) for each in jobs)]
            time.sleep(seconds)
            own = busy(psutil.Process(worker.process.pid)) - before[0]
            theirs = sum(busy(each) for each in jobs) - before[1]
        finally:
            worker.end()
    return own / seconds * 100, theirs / seconds * 100 / len(jobs)


def warm(pid: int) -> list[psutil.Process]:
    """The job processes, once all are there: the children of the worker's forkserver."""
    for child in psutil.Process(pid).children():
        if "forkserver" in " ".join(child.cmdline()):
            found = child.children()
            return found if len(found) >= IDLE_PROCESSES else []
    return []


def busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def environ(setting: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MINDBOT_", "LIVEKIT_"))}
    return clean | {
        "PYTHONPATH": os.pathsep.join([str(BENCH), os.environ.get("PYTHONPATH", "")]),
        "BENCH_LOOP_BLOCK_WARN_MS": setting,
        "BENCH_IDLE_PROCESSES": str(IDLE_PROCESSES),
        "MINDBOT_WORKER__REGISTERED": "false",
        "MINDBOT_VOICE__TURN_DETECTION": "vad",
        "MINDBOT_VOICE__OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "MINDBOT_VOICE__DEEPGRAM_BASE_URL": "http://127.0.0.1:1/v1/listen",
    }


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    print("| LiveKit's loop monitor | worker process, % of a core | each idle job process, % | with 4 of them, % |")
    print("|---|---|---|---|", flush=True)
    for name, setting in ROWS.items():
        own, each = measure(setting, seconds)
        print(f"| {name} | {own:.2f} | {each:.2f} | {own + IDLE_PROCESSES * each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
