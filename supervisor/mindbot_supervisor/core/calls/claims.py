"""Which worker has which call, and which agent in which room: by the last heartbeats of all living workers.

What one worker says of a call that another living one has is contested: it is told, and nothing is done about it. Who
named a call first has it, until it names it no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mindbot_supervisor.core.workers.model import Ref
from mindbot_worker.protocol.heartbeat import Call


@dataclass(frozen=True, slots=True)
class Rival:
    """Who has the call, or the agent, that another worker names as its own."""

    ref: Ref
    job: str


@dataclass(slots=True)
class Claims:
    """Every method takes the worker that speaks. It knows no more than the last heartbeats say."""

    _held: dict[Ref, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """Each worker's jobs, with room and agent identity."""
    _jobs: dict[str, Ref] = field(default_factory=dict)
    _agents: dict[tuple[str, str], Rival] = field(default_factory=dict)
    """By room and identity."""
    _contested: dict[Ref, dict[str, Rival]] = field(default_factory=dict)
    """Jobs that a worker names although others have them."""

    def hear(self, ref: Ref, calls: Iterable[Call], replaced: Callable[[str], bool]) -> list[tuple[Call, Rival]]:
        """Take in what a worker says that it has; what of it is contested from now on.

        `replaced` tells of a job whether another is to take its agent's place: that one has the same identity.
        """
        held, contested = self._held.setdefault(ref, {}), self._contested.setdefault(ref, {})
        named = {call.job: call for call in calls}
        for job in [job for job, where in held.items() if job not in named or where != _where(named[job])]:
            self.release(ref, job)
        for job in [job for job in contested if job not in named]:
            del contested[job]
        fresh: list[tuple[Call, Rival]] = []
        for call in named.values():
            if call.job in held:
                continue
            rival = self._rival(ref, call, replaced)
            if rival is None:
                self._take(ref, call)
                contested.pop(call.job, None)
                continue
            if call.job not in contested:
                fresh.append((call, rival))
            contested[call.job] = rival
        return fresh

    def _rival(self, ref: Ref, call: Call, replaced: Callable[[str], bool]) -> Rival | None:
        holder = self._jobs.get(call.job)
        if holder is not None and holder != ref:
            return Rival(holder, call.job)
        agent = self._agents.get(_where(call)) if call.identity else None
        if agent is not None and agent.ref != ref and not replaced(agent.job):
            return agent
        return None

    def _take(self, ref: Ref, call: Call) -> None:
        self._held[ref][call.job] = _where(call)
        self._jobs[call.job] = ref
        if call.identity:
            self._agents[_where(call)] = Rival(ref, call.job)

    def release(self, ref: Ref, job: str) -> None:
        """The worker does not have this job any more."""
        where = self._held.get(ref, {}).pop(job, None)
        if where is None:
            return
        del self._jobs[job]
        if self._agents.get(where) == Rival(ref, job):
            del self._agents[where]

    def forget(self, ref: Ref) -> None:
        """The worker is gone."""
        for job in list(self._held.get(ref, ())):
            self.release(ref, job)
        self._held.pop(ref, None)
        self._contested.pop(ref, None)

    def is_contested(self, ref: Ref, job: str) -> bool:
        """Whether the worker names a job that is not its own."""
        return job in self._contested.get(ref, ())

    def rival_of(self, ref: Ref, job: str) -> Ref | None:
        """A living worker that says it has this job of `ref`, or its agent."""
        mine = Rival(ref, job)
        return next((other for other, jobs in self._contested.items() if mine in jobs.values()), None)


def _where(call: Call) -> tuple[str, str]:
    return call.room, call.identity
