"""Owns background tasks and a periodic timer, so that neither ends unseen: a failure is reported in the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any


class BackgroundTasks:
    """The background tasks of one owner. A task that fails is reported to the event loop's exception handler."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def settled(self, within: float) -> None:
        """Return when no task is left, or after so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)

    async def finish(self) -> None:
        """Wait for all tasks, and for those that they start."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await self.finish()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        exc = task.exception() if not task.cancelled() else None
        if exc is not None:
            self._loop.call_exception_handler({"message": "background work failed", "exception": exc})


class PeriodicTimer:
    """Does several pieces of work every `interval` seconds. Each is an activity's `attempt`, which raises nothing.

    It is a timer and no task: a task that waits would cost the daemon more than the work.
    """

    def __init__(self, interval: float, work: Sequence[Callable[[], None]]) -> None:
        self._interval, self._work = interval, work
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Do all of it now, and again after each interval."""
        self._timer = self._loop.call_later(self._interval, self.start)  # first, so that nothing can stop it
        for work in self._work:
            work()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
