"""Carries out recoveries and migrations: several at a time, each bounded, and nothing of them left behind."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.answers import Answer, Failed, Recovered
from mindbot_worker import wire

from .attempt import Attempt, Finished, Watch
from .journals import Journals
from .livekit_api import ApiError, LiveKitApi
from .livekit_records import Dispatch

TAKEN_MAX = 4096
"""Agents that are remembered, the latest: an attempt compares those of one room."""
PAUSE, PAUSE_MAX = 0.1, 0.8
"""Seconds before LiveKit is asked again after it failed to answer; doubled each time."""


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
        self._api.start()
        self._journals.sweep(time.time())

    async def close(self) -> None:
        await self._api.close()

    async def recover(self, action: Recover, watch: Watch = Watch()) -> Answer:  # noqa: B008 - frozen
        """One attempt, in `action.seconds` at most."""
        job = action.call.job
        model = self._models.get(job) or Dispatch("", self._agent_name)
        until = time.monotonic() + action.seconds
        attempt = Attempt(self._api, action, model, self._taken, self._journals, until, watch, self._attempts)
        answer: Answer | None = None
        self._attempts[job] = attempt
        try:
            async with asyncio.timeout(action.seconds):
                answer = await _insist(attempt)
        except TimeoutError:
            why = attempt.problem or f"no agent came within {action.seconds:g} s"
            blind = bool(attempt.problem)
            nobody = not blind and not attempt.taken_up
            answer = Failed(why, blind=blind, nobody=nobody, untouched=attempt.untouched)
            if attempt.untouched:
                await attempt.call_off()
        finally:
            del self._attempts[job]
            if answer is None or isinstance(answer, Recovered):
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

    def forget(self, room: str, job: str) -> None:
        """Remove the journal of a call that nobody will continue."""
        model = self._models.pop(job, None)
        for name in {wire.journal_name(room, job), model.attributes.get(wire.JOURNAL, "") if model else ""}:
            self._journals.remove(name)


async def _insist(attempt: Attempt) -> Answer:
    """The attempt, taken up again where LiveKit did not answer. Raises TimeoutError.

    It looks at the clock itself: aiohttp takes a cancellation in the moment of its own time-out for that.
    """
    pause = PAUSE
    while time.monotonic() < attempt.until:
        try:
            await attempt.run()
        except Finished as finished:
            return finished.answer
        except ApiError as exc:
            attempt.problem = str(exc)
        await asyncio.sleep(pause)
        pause = min(pause * 2, PAUSE_MAX)
    raise TimeoutError
