"""What is known of the rooms of a worker's calls: whether they are gone for good while the job lives on.

That a room is gone is said by the worker (its job was disconnected for good) or by LiveKit, which no longer lists it.
LiveKit is believed only about a room that it has listed before: an agent may be registered with another LiveKit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from mindbot_worker.protocol.heartbeat import Call


@dataclass(frozen=True, slots=True)
class Ending:
    """A call whose job's process is being ended, and for how long its room had been gone."""

    call: Call
    seconds: float


@dataclass(slots=True)
class GoneRooms:
    """What is known of the rooms of one worker's calls, by job. It never knows of more jobs than the worker lists."""

    since: dict[str, float] = field(default_factory=dict)
    """When the room was gone."""
    told: set[str] = field(default_factory=set)
    """Whose worker says so."""
    missing: set[str] = field(default_factory=set)
    """Whose room LiveKit does not list any more."""
    listed: set[str] = field(default_factory=set)
    """Whose room LiveKit has listed at some time."""
    over: set[str] = field(default_factory=set)
    """Calls that are over for us, although the worker may list them still."""
    ending: dict[str, Ending] = field(default_factory=dict)

    def hear(self, calls: tuple[Call, ...], now: float, born: float) -> tuple[Call, ...]:
        """Take in what a beat says of its calls; those of them that are not over."""
        if not calls:
            self._keep(())
            return calls
        self._keep({call.job for call in calls})
        for call in calls:
            if call.gone is not None:
                at = max(now - call.gone, born)
                self.since[call.job] = min(self.since.get(call.job, at), at)
                self.told.add(call.job)
            elif call.job in self.told:
                self.told.discard(call.job)
                self._forgive(call.job)
        return tuple(call for call in calls if call.job not in self.over) if self.over else calls

    def _keep(self, jobs: Collection[str]) -> None:
        """Forget all other jobs."""
        if self.since or self.listed or self.over:
            self.since = {job: at for job, at in self.since.items() if job in jobs}
            for kept in (self.told, self.missing, self.listed, self.over):
                kept.intersection_update(jobs)

    def livekit_lists(self, job: str, listed: bool, now: float) -> None:
        """LiveKit was asked whether the room of this job exists."""
        if listed:
            self.listed.add(job)
            self.missing.discard(job)
            self._forgive(job)
        elif job in self.listed:
            self.missing.add(job)
            self.since.setdefault(job, now)

    def _forgive(self, job: str) -> None:
        if job not in self.told and job not in self.missing:
            self.since.pop(job, None)

    def attended(self, call: Call) -> bool:
        """Whether somebody may be in the call: its room is there, and nobody says that only the agent is in it."""
        return call.job not in self.since and call.present is not False

    def closing_until(self, timeout: float) -> float:
        """Until when a job whose room is gone may take to end; 0 where there is none."""
        return max((at + timeout for job, at in self.since.items() if job not in self.over), default=0.0)
