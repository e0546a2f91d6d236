"""The daemon's thread pool for blocking work, all threads started at once at the beginning.

Where a limit of processes and threads is reached later, nothing of the daemon's own depends on one more: an executor
that cannot start its thread fails the call, and libuv's pool, which looks up host names, ends the whole process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from mindbot_supervisor.monitoring.background_tasks import BackgroundTasks

THREADS = 6
"""For sweeps, looks at process trees and the like: more would only wait for each other."""


def start(tasks: BackgroundTasks) -> None:
    """Start the threads for the running loop. Raises RuntimeError where there is no room for them even now."""
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="blocking")
    together = threading.Barrier(THREADS + 1)
    for _ in range(THREADS):
        executor.submit(together.wait)
    together.wait()
    loop.set_default_executor(executor)
    tasks.start(_start_resolver())


async def _start_resolver() -> None:
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().getaddrinfo("localhost", None)
