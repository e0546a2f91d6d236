"""The recoveries under way, as tasks: begun when the pool says so, and told to it when they end. Beside them, what the
pool has to know of LiveKit's rooms.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import islice

from mindbot_supervisor.activities import Activity, describe
from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.answers import Answer, Failed
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_worker.wire import Call

from .attempt import Watch
from .livekit_api import ApiError
from .rescue import Rescuer

DISPATCHES_FIRST = 0.06
"""Seconds after a death for which other work waits: in them five callers have new agents dispatched, on 2 cores. Beside
the start of job processes and a look at all of /proc it took them 0.07 to 0.14."""
ROOMS_EVERY, ROOMS_AT_ONCE = 15.0, 256
"""Seconds between two questions to LiveKit which rooms of live calls exist, or a quarter of `pool.gone_room_timeout`;
and the rooms in one question."""
SWEEP_EVERY = 3600.0
FORGET_AGAIN = 2.0
"""Seconds after which a journal is removed that was still open when its call was over."""


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
        self._loop = asyncio.get_running_loop()
        self.rescuer: Rescuer | None = None
        """Who brings new agents to callers, where recovery is enabled."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By job."""
        self._warm = False
        """What a recovery needs is loaded, or is being loaded."""
        self._sweep_at = time.monotonic() + SWEEP_EVERY
        self._ask_at = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._asked = 0
        """How many rooms were asked for so far, of which the next question begins after."""

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
            if self._warm:
                rescuer.warm()

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
        if self.rescuer is not None and (left := self.rescuer.forget(call.room, call.job)):
            self._loop.call_later(FORGET_AGAIN, self.rescuer.forget_journals, left)

    def get_ready(self) -> None:
        """The first worker is ready: load what a recovery needs, which is not to hold up the workers' start."""
        if not self._warm:
            self._warm = True
            if self.rescuer is not None:
                self.rescuer.warm()

    def tick(self, now: float) -> None:
        """Called every second or so: what is done beside recoveries, and may wait for them."""
        if self._pool.ready:
            self.get_ready()
        if self.rescuer is None:
            return
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_EVERY
            self._background(asyncio.to_thread(self.rescuer.sweep))
        if self._warm and now >= self._ask_at and (self._asking is None or self._asking.done()):
            self._ask_at = now + min(ROOMS_EVERY, self._pool.policy.pool.gone_room_timeout / 4)
            self._ask_for_rooms(self.rescuer)

    def cancel(self) -> None:
        for task in [*self._tasks.values(), *([self._asking] if self._asking is not None else [])]:
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
        return Watch(
            started_here=partial(self._pool.has_successor, job),
            left_alone=partial(self._left_alone, job),
            speaks_against=partial(self._pool.speaks_against, job),
        )

    def _left_alone(self, job: str, since: float) -> None:
        self._carry_out(self._pool.left_alone(job, since))

    def _ask_for_rooms(self, rescuer: Rescuer) -> None:
        """Of many rooms some each time, in turn."""
        rooms = self._pool.rooms()
        begin = self._asked % len(rooms) if len(rooms) > ROOMS_AT_ONCE else 0
        names = list(islice(rooms, begin, begin + ROOMS_AT_ONCE))
        self._asked = begin + len(names)
        if names:
            self._asking = self._background(self._look_for(rescuer, names))

    async def _look_for(self, rescuer: Rescuer, names: list[str]) -> None:
        with contextlib.suppress(ApiError):  # then nothing is known of them
            listed = await rescuer.rooms(names)
            self._carry_out(self._pool.rooms_listed(names, listed, time.monotonic()))
