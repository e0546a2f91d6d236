"""Carries out recoveries and migrations as tasks: several at a time, each bounded in time, nothing of them left
behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.calls.recovery_state import Answer, Contested, Failed, Recovered
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.monitoring.activities import Activity, describe
from mindbot_supervisor.recovery.call_journals import Journals
from mindbot_supervisor.recovery.dispatch_attempt import Attempt, Finished, Watch
from mindbot_supervisor.recovery.livekit import ApiError, LiveKitApi
from mindbot_supervisor.recovery.livekit_records import Dispatch
from mindbot_worker.protocol import heartbeat
from mindbot_worker.protocol.heartbeat import Call

TAKEN_MAX = 4096
"""Agents that are remembered, the latest: an attempt compares those of one room."""
LOAD = 4.0
"""Seconds to load LiveKit's packages, if they are not yet: less than the core's OVERDUE."""
PAUSE, PAUSE_MAX, SPREAD = 0.1, 0.8, 0.02
"""Seconds before LiveKit is asked again after it failed to answer; doubled each time, and spread a little."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a rescuer has learned and cannot learn again. It goes over to the next daemon at an upgrade."""

    models: dict[str, Dispatch] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)


class Rescuer:
    """`recover` is one attempt for one call; what the next one has to know of it is kept here."""

    def __init__(self, api: LiveKitApi, journals: Path, agent_name: str) -> None:
        self._api, self._journals, self._agent_name = api, Journals(journals), agent_name
        self._models: dict[str, Dispatch] = {}
        """What was dispatched for a call at first, by its job, while it is open: later it is no longer listed."""
        self._attempts: dict[str, Attempt] = {}
        """Under way, by job."""
        self._taken: dict[str, None] = {}
        """Agents that answer for a call already: two calls may be in one room."""

    def __eq__(self, other: object) -> bool:
        """The same server, credentials and agent."""
        return isinstance(other, Rescuer) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self._api.key, self._journals.folder, self._agent_name

    def start(self) -> None:
        self.sweep()

    def warm(self) -> None:
        """Be ready for a recovery: load what it takes, and keep connections open."""
        self._api.start()

    def sweep(self) -> None:
        """Remove the journals of calls that are long over."""
        self._journals.sweep(time.time())

    async def rooms(self, names: Collection[str]) -> set[str]:
        """Those of these rooms that exist. Raises ApiError."""
        return await self._api.rooms(names)

    async def close(self) -> None:
        await self._api.close()

    async def recover(self, action: Recover, watch: Watch = Watch()) -> Answer:  # noqa: B008 - frozen
        """One attempt, in `action.seconds` at most; what has to be loaded for the first one is no part of it."""
        job = action.call.job
        with contextlib.suppress(ApiError, TimeoutError):  # it is told when it is asked
            async with asyncio.timeout(LOAD):
                await self._api.load()
        model = self._models.get(job) or Dispatch("", self._agent_name)
        until = time.monotonic() + action.seconds
        attempt = Attempt(self._api, action, model, self._taken, self._journals, until, watch, self._attempts)
        answer: Answer | None = None
        self._attempts[job] = attempt
        try:
            async with asyncio.timeout(action.seconds):
                answer = await _insist(attempt)
        except TimeoutError:
            silent = "" if attempt.heard else f"livekit did not answer within {action.seconds:g} s"
            why = attempt.problem or silent or f"no agent came within {action.seconds:g} s"
            blind = bool(attempt.problem or silent)
            nobody = not blind and not attempt.taken_up
            answer = Failed(why, blind=blind, nobody=nobody, untouched=attempt.untouched)
            if attempt.untouched:
                await attempt.call_off()
        finally:
            del self._attempts[job]
            if answer is None or isinstance(answer, Recovered | Contested):
                self._models.pop(job, None)
            else:
                self._models[job] = attempt.model
            while len(self._taken) > TAKEN_MAX:
                del self._taken[next(iter(self._taken))]
        return answer

    def known(self) -> Known:
        """Also what the attempts under way have learned so far."""
        models = self._models | {job: attempt.model for job, attempt in self._attempts.items()}
        return Known(models, list(self._taken))

    def remember(self, known: Known) -> None:
        self._models |= known.models
        self._taken |= dict.fromkeys(known.taken)

    def forget(self, room: str, job: str) -> set[str]:
        """Remove the journal of a call that nobody will continue; what of it is still being written, and stays."""
        model = self._models.pop(job, None)
        names = {heartbeat.journal_name(room, job), model.attributes.get(heartbeat.JOURNAL, "") if model else ""}
        return self.forget_journals(names)

    def forget_journals(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if not self._journals.remove(name)}


async def _insist(attempt: Attempt) -> Answer:
    """The attempt, taken up again where LiveKit did not answer. Raises TimeoutError."""
    import stamina  # with what LiveKit's packages bring along: not before the first worker is started

    stamina.instrumentation.set_on_retry_hooks([])  # they would write to a log, and count in metrics, of their own
    left = max(attempt.until - time.monotonic(), 0.0)
    tries = stamina.retry_context(
        on=ApiError, attempts=None, timeout=left, wait_initial=PAUSE, wait_max=PAUSE_MAX, wait_jitter=SPREAD
    )
    with contextlib.suppress(ApiError):
        async for each in tries:
            with each:
                try:
                    await attempt.run()
                except Finished as finished:
                    return finished.answer
                except ApiError as exc:
                    attempt.problem = str(exc)
                    raise
    raise TimeoutError


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
