"""Logs the worker's memory, threads and open files now and then, and collects garbage after calls.

Started with PYTHONTRACEMALLOC=1, a worker also names the lines of code whose memory has grown most since the last time.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import psutil

USAGE = "memory.usage"
GROWERS = 5
TIDY_AFTER = 2.0
"""Seconds after a call ended, or after the last one began, until garbage is collected: calls that start do not wait for
it. With all that was imported frozen, there is little left to go through; without that it took 165 ms (measured)."""

logger = logging.getLogger(__name__)


async def report(interval: float) -> None:
    """One log line every `interval` seconds, for as long as the worker lives."""
    growers = GrowingLines()
    while True:
        await asyncio.sleep(interval)
        fields = await asyncio.to_thread(lambda: {**usage(), **growers.look()})
        tasks = len(asyncio.all_tasks())
        logger.info("memory of the worker process", extra={"event": USAGE, **fields, "tasks": tasks})


def usage() -> dict[str, Any]:
    """The fields of a report: sizes in MiB and open files where the kernel tells them, garbage, and threads."""
    stats = gc.get_stats()
    return {
        **_of_process(),
        "gc_pending": list(gc.get_count()),
        "gc_collected": sum(each["collected"] for each in stats),
        "gc_uncollectable": sum(each["uncollectable"] for each in stats),
        "threads": threading.active_count(),
    }


def _of_process() -> dict[str, Any]:
    try:
        process = psutil.Process()
        memory, files = process.memory_full_info(), process.num_fds()
    except (psutil.Error, OSError):
        return {}
    sizes = {"rss_mb": memory.rss, "pss_mb": memory.pss, "private_mb": memory.uss}
    return {**{name: round(size / 1024**2, 1) for name, size in sizes.items()}, "open_files": files}


class GrowingLines:
    """Finds the lines of code whose memory has grown since the last look; nothing while tracemalloc is off."""

    def __init__(self) -> None:
        self._before: tracemalloc.Snapshot | None = None

    def look(self) -> dict[str, list[str]]:
        if not tracemalloc.is_tracing():
            return {}
        before, self._before = self._before, tracemalloc.take_snapshot()
        if before is None:
            return {}
        grown = [each for each in self._before.compare_to(before, "lineno") if each.size_diff > 0]
        found = [f"{each.traceback} +{each.size_diff / 1024:.0f} KiB" for each in grown[:GROWERS]]
        return {"growers": found} if found else {}


class GarbageCollection:
    """Collects garbage a moment after each call, and never while calls are starting. Belongs to the loop's thread."""

    def __init__(self, collect: Callable[[], object] = gc.collect) -> None:
        self._collect = collect
        self._due: asyncio.TimerHandle | None = None

    def freeze_imported(self) -> None:
        """Exempt all that exists now from later collections. Called before the first call."""
        gc.collect()
        gc.freeze()

    def call_ended(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(TIDY_AFTER, self._run)

    def call_started(self) -> None:
        """Put a due collection off."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
            self.call_ended()

    def _run(self) -> None:
        self._due = None
        self._collect()
