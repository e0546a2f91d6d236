"""What the daemon costs with real workers: `python bench/daemon_real.py [--workers 4] [--calls 0,2] [--rounds 3]`.

A real livekit-server, MindBot with local providers, callers who ask something every 10 s. CPU is user and system time
of the daemon alone in percent of one core, over a minute each; the template and the server of job processes, which it
starts, are told beside it. Prints a Markdown table. With C programs as workers, up to 1,000: daemon_cost.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

BENCH = Path(__file__).parent
sys.path[:0] = [str(BENCH.parent / name) for name in ("supervisor", "worker", "config", "tests")]

from contest import host, processes, table  # noqa: E402

from functional.daemon import Daemon  # noqa: E402
from live.caller import Caller, calling, load_phrases  # noqa: E402
from live.livekit import Local, livekit_server_or_exit, running_local  # noqa: E402
from live.supervised import answered, ready, supervised  # noqa: E402

SETTLE = 20.0
"""Seconds until nothing of the start, or of a call's beginning, is still going on."""
ASK_EVERY = 10.0
COLUMNS = ("calls", "daemon, % of a core", "daemon, PSS MiB", "template and job server, %", "their PSS, MiB")


async def ask(caller: Caller) -> None:
    for phrase in cycle(load_phrases()):
        await caller.say(phrase)
        await asyncio.sleep(ASK_EVERY)


def helpers(daemon: Daemon) -> list[int]:
    about = daemon.status()["supervisor"]
    return [about[name]["pid"] for name in ("template", "jobserver") if name in about]


async def sample(daemon: Daemon, seconds: float) -> tuple[float, ...]:
    """The columns but the first."""
    own, theirs = [daemon.process.pid], helpers(daemon)
    before, at = [processes.cpu_seconds(each) for each in (own, theirs)], time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - at
    cpu = [(processes.cpu_seconds(each) - was) / took * 100 for each, was in zip((own, theirs), before, strict=True)]
    return cpu[0], processes.pss_mb(own), cpu[1], processes.pss_mb(theirs)


async def measure(folder: Path, stack: Local, options: argparse.Namespace) -> None:
    with supervised(folder, stack, workers=options.workers) as daemon:
        await ready(daemon, options.workers)
        for calls in map(int, options.calls.split(",")):
            async with contextlib.AsyncExitStack() as callers:
                asking = []
                for room in (f"{calls}-{number}" for number in range(calls)):
                    caller = await callers.enter_async_context(calling(stack.server, room))
                    await answered(daemon, room)
                    asking.append(asyncio.create_task(ask(caller)))
                await asyncio.sleep(SETTLE)
                found = [await sample(daemon, options.seconds) for _ in range(options.rounds)]
                for task in asking:
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
            print(row(calls, *(table.spread(list(column)) for column in zip(*found, strict=True))), flush=True)
        await asyncio.to_thread(daemon.terminate, 60)


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4, help="how many (%(default)s)")
    parser.add_argument("--calls", default="0,2", help="live calls, with commas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of one sample (%(default)s)")
    options = parser.parse_args()
    path = livekit_server_or_exit()
    machine = host.line()
    print(f"{row(*COLUMNS)}\n{row(*['---'] * len(COLUMNS))}", flush=True)
    with running_local(livekit_server=path) as stack, tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), stack, options))
    print(f"\n{options.workers} workers; {machine}, after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
