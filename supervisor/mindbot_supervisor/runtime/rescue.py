"""Carries out recoveries and migrations: several at a time, each bounded, and nothing of them left behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.recovery import Answer, Failed, Recovered
from mindbot_worker import wire

from .attempt import Attempt, Finished
from .livekit_api import ApiError, LiveKitApi
from .livekit_records import Dispatch

PAUSE, PAUSE_MAX = 0.1, 0.8
"""Seconds before LiveKit is asked again after it failed to answer; doubled each time."""
JOURNAL_KEPT = 86_400.0
"""Seconds after which a journal that nobody writes to any more is removed (its daemon was killed)."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a rescuer has learned and cannot learn again. It goes over to the next daemon at an upgrade."""

    models: dict[str, Dispatch] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)


class Rescuer:
    """`recover` is one attempt for one call; what the next one has to know of it is kept here."""

    def __init__(self, api: LiveKitApi, journals: Path, agent_name: str) -> None:
        self._api, self._journals, self._agent_name = api, journals, agent_name
        self._models: dict[str, Dispatch] = {}
        """What was dispatched for a call at first, by its job, while it is open: later it is no longer listed."""
        self._attempts: dict[str, Attempt] = {}
        """Under way, by job."""
        self._taken: set[str] = set()
        """Agents that answer for a call already: two calls may be in one room."""

    def __eq__(self, other: object) -> bool:
        """The same server, credentials and agent."""
        return isinstance(other, Rescuer) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self._api.key, self._journals, self._agent_name

    def start(self) -> None:
        self._api.start()
        self._sweep(time.time())

    async def close(self) -> None:
        await self._api.close()

    async def recover(self, action: Recover, started_here: Callable[[], bool] = lambda: False) -> Answer:
        """One attempt, in `action.seconds` at most. `started_here` tells whether a worker of ours has the new job."""
        job = action.call.job
        model = self._models.get(job) or Dispatch("", self._agent_name)
        until = time.monotonic() + action.seconds
        attempt = Attempt(self._api, action, model, self._taken, self._journals, until, started_here)
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
        finally:
            del self._attempts[job]
            if answer is None or isinstance(answer, Recovered):
                self._models.pop(job, None)
            else:
                self._models[job] = attempt.model
        return answer

    def known(self) -> Known:
        """Also what the attempts under way have learned so far."""
        models = self._models | {job: attempt.model for job, attempt in self._attempts.items()}
        return Known(models, sorted(self._taken))

    def remember(self, known: Known) -> None:
        self._models |= known.models
        self._taken |= set(known.taken)

    def forget(self, room: str, job: str) -> None:
        """Remove the journal of a call that nobody will continue."""
        model = self._models.pop(job, None)
        for name in {wire.journal_name(room, job), model.attributes.get(wire.JOURNAL, "") if model else ""}:
            if wire.is_journal_name(name):
                with contextlib.suppress(OSError):
                    (self._journals / name).unlink(missing_ok=True)

    def _sweep(self, wall: float) -> None:
        """Remove the journals that an earlier daemon left behind."""
        with contextlib.suppress(OSError):
            for path in self._journals.iterdir():
                if wall - path.lstat().st_mtime > JOURNAL_KEPT and wire.is_journal_name(path.name):
                    path.unlink(missing_ok=True)


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
