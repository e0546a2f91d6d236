"""What a call costs, by the size of the frames in which its sound is handled: `python bench/frame_size.py [SECONDS]`.

One MindBot worker after another, each with its own `voice.frame_ms`, and a caller who speaks, listens to the answer and
speaks again. CPU is user and system time of the call's job process in percent of one core. Prints a Markdown table.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("supervisor", "worker", "config", "tests")]

from live.caller import Caller, calling, load_phrases  # noqa: E402
from live.livekit import Local, livekit_server_or_exit, running_local  # noqa: E402
from live.supervised import answered, ready, supervised  # noqa: E402

SIZES = (10, 20, 50, 100, 200)
SECONDS, SILENT_SECONDS = 30.0, 10.0
WITHIN = 60.0


async def measure(stack: Local, folder: Path, size: int, seconds: float) -> tuple[float, float, float]:
    """CPU percent while nobody speaks and in conversation, and the median seconds from question to answer."""
    with supervised(folder, stack, workers=1, VOICE__FRAME_MS=str(size)) as daemon:
        await ready(daemon, 1)
        room = f"frames-{size}"
        async with calling(stack.server, room) as caller:
            row = await answered(daemon, room)
            job = psutil.Process(next(call["pid"] for call in row["calls"] if call["room"] == room))
            await caller.hear(WITHIN, since=0)
            await caller.silence(2.0, within=WITHIN)
            before, at = busy(job), time.monotonic()
            await asyncio.sleep(SILENT_SECONDS)
            silent = (busy(job) - before) / (time.monotonic() - at)
            before, at = busy(job), time.monotonic()
            times = await talk(caller, until=at + seconds)
            talking = (busy(job) - before) / (time.monotonic() - at)
        await asyncio.to_thread(daemon.terminate, 60)
    return silent * 100, talking * 100, median(times)


async def talk(caller: Caller, until: float) -> list[float]:
    phrases, times = list(load_phrases()), []
    while time.monotonic() < until:
        ended = await caller.say(phrases[len(times) % len(phrases)])
        times.append((await caller.hear(WITHIN, since=ended)).started_at - ended)
        await caller.silence(1.0, within=WITHIN)
    return times


def busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    path = livekit_server_or_exit()
    print(
        "| frame, ms | job process while both are silent, % of a core | in conversation, % | question to answer, ms |"
    )
    print("|---|---|---|---|", flush=True)
    for size in SIZES:
        with running_local(livekit_server=path) as stack, tempfile.TemporaryDirectory() as folder:
            silent, talking, wait = asyncio.run(measure(stack, Path(folder), size, seconds))
        print(f"| {size} | {silent:.1f} | {talking:.1f} | {wait * 1000:.0f} |", flush=True)


if __name__ == "__main__":
    main()
