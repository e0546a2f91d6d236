"""The recoveries under way, as tasks: begun when the pool says so, and told to it when they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial

from mindbot_supervisor.activities import Activity, describe
from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.answers import Answer, Failed
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_worker.wire import Call

from .attempt import Watch
from .rescue import Rescuer

DISPATCHES_FIRST = 0.06
"""Seconds after a death for which other work waits: in them five callers have new agents dispatched, on 2 cores. Beside
the start of job processes and a look at all of /proc it took them 0.07 to 0.14."""


class Recoveries:
    """`background` runs what has to end before the daemon does."""

    def __init__(
        self,
        pool: Pool,
        carry_out: Callable[[Effects], None],
        background: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        activity: Activity,
    ) -> None:
        self._pool, self._carry_out, self._background = pool, carry_out, background
        self._activity = activity
        self.rescuer: Rescuer | None = None
        """Who brings new agents to callers, where recovery is enabled."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By job."""

    def employ(self, rescuer: Rescuer | None) -> None:
        """Recover calls with this one from now on; one that does the same work stays."""
        old = self.rescuer
        if old is not None and old == rescuer:
            return
        if old is not None:
            self._background(old.close())
        self.rescuer = rescuer
        if rescuer is not None:
            rescuer.start()

    @property
    def under_way(self) -> bool:
        return bool(self._tasks)

    def begin(self, action: Recover) -> None:
        earlier = self._tasks.pop(action.replaces, None)
        if earlier is not None:
            earlier.cancel()
        self._tasks[action.call.job] = self._background(self._recover(action))

    def forget(self, call: Call) -> None:
        """Nobody will continue this one."""
        if self.rescuer is not None:
            self.rescuer.forget(call.room, call.job)

    def cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def close(self) -> None:
        """After `cancel`, when the tasks have ended."""
        if self.rescuer is not None:
            await self.rescuer.close()

    async def _recover(self, action: Recover) -> None:
        job = action.call.job
        answer: Answer = Failed("there is no LiveKit to ask", final=True)
        try:
            if self.rescuer is not None:
                answer = await self.rescuer.recover(action, self._watch_of(job))
                self._activity.worked()
        except Exception as exc:  # the pool waits for an answer, and tries again by its own rules
            self._activity.failed(exc)
            answer = Failed(f"the attempt itself failed: {describe(exc)}", blind=True)
        self._tasks.pop(job, None)
        self._carry_out(self._pool.answered(job, answer, time.monotonic()))

    def _watch_of(self, job: str) -> Watch:
        return Watch(partial(self._pool.has_successor, job), partial(self._left_alone, job))

    def _left_alone(self, job: str, since: float) -> None:
        self._carry_out(self._pool.left_alone(job, since))
