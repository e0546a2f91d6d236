"""MindBot for `slow_leak.py`: the process of one worker, BENCH_LEAK_WORKER, takes memory that it never gives back.

It begins when that worker serves, a touched piece at a time; the worker's successors have names of their own.
"""

import asyncio
import os

from mindbot_worker.mindbot import server
from mindbot_worker.protocol import heartbeat

__all__ = ["server"]

PIECE = 64 * 1024
_hoard: list[bytes] = []
_tasks: set[asyncio.Task[None]] = set()


async def leak(mb_per_minute: float) -> None:
    pause = 60 * PIECE / (mb_per_minute * 2**20)
    while True:
        await asyncio.sleep(pause)
        _hoard.append(b"x" * PIECE)


@server.on("worker_started")
def begin() -> None:
    if os.environ.get(heartbeat.WORKER_NAME) == os.environ["BENCH_LEAK_WORKER"]:
        _tasks.add(asyncio.create_task(leak(float(os.environ["BENCH_LEAK_MB_PER_MINUTE"]))))
