"""Carries out recoveries and migrations: several at a time, each bounded, and nothing of them left behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.answers import Answer, Contested, Failed, Recovered
from mindbot_worker import wire

from .attempt import Attempt, Finished, Watch
from .journals import Journals
from .livekit_api import ApiError, LiveKitApi
from .livekit_records import Dispatch

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
        names = {wire.journal_name(room, job), model.attributes.get(wire.JOURNAL, "") if model else ""}
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
