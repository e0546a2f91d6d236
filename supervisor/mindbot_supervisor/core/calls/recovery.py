"""Calls that lost their agent, or are taken from it, until each has a new one or none is to come.

Pure: facts in, actions and changes out. A call is known by its job; what becomes of a room is remembered for a while,
so that a room which kills one agent after the other is left alone in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Action, Forget, Recover
from mindbot_supervisor.core.calls import quarantine
from mindbot_supervisor.core.calls.call_outcomes import CallCounts, name
from mindbot_supervisor.core.calls.recovery_state import Alone, Answer, Case, Contested, Failed, Open, Recovered, Terms
from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_worker.protocol.heartbeat import CALL_ENDING, Call

PAUSE = 0.25
"""Seconds between two attempts for one call."""
PATIENCE = 60.0
"""Seconds for which a call that no worker is free to take is offered again: the room is not to blame for that. A pool
of one needs them, as its replacement has to start first."""
OVERDUE = 5.0
"""Seconds beyond its deadline after which an attempt that nobody answered for has failed."""
CALLERS_FIRST = 1.0
"""Seconds for which nothing else is started on the host when callers have lost their agents, unless that is over
sooner: the start of a worker takes 0.2 s of CPU, and five agents that come at once need all of two cores."""
PRESSED = 4
"""Times as many calls are moved side by side where whoever has not moved in time is cut: a longer gap is no loss."""
CASES_MAX, CASES_OF_ONE = 1024, 128
"""So many calls are on their way to a new agent at one time, in all and of one worker: a worker can list as many calls
as it likes, and each would be a question to LiveKit. A worker takes ten, unless told otherwise."""
REMEMBERED = 4096
"""Calls that were taken away from their worker and are not gone from its beats yet."""


Moves = list[Action | Change]


class Recovery:
    """All open cases. Methods take the time and return what to do and what to tell, in this order."""

    def __init__(self, terms: Terms, counts: CallCounts) -> None:
        self.terms, self._counts = terms, counts
        self.open = Open()

    @property
    def cases(self) -> dict[str, Case]:
        return self.open.cases

    # -- facts ---------------------------------------------------------------------------------------------------------

    def lost(self, call: Call, ref: Ref, pid: int | None, now: float, *, reason: str, ours: bool = False) -> Moves:
        """A call's agent is dead."""
        if self.left(call.job):
            self.left_alone(call.job, now)
            return []
        if call.state == CALL_ENDING:
            return self._over(call, ref, pid, now)
        died = self._supersede(call.job)
        if died is not None and died.attended:
            return self._keep_waiting(died, now)
        died_here = quarantine.note(self.open.deaths, call.room, now)
        attempts = max(died_here - 1, died.attempt if died else 0)
        case = Case(call, ref, pid, died.since if died else now, reason, ours, attempt=attempts)
        if case.attempt >= self.terms.attempts:
            return self._give_up(case, now, log_events.CALL_QUARANTINED, f"{died_here} agents died in this room")
        if died is None and self._full(ref):
            return self._give_up(
                case, now, log_events.CALL_LOST, "too many calls were lost at once to recover this one"
            )
        return self._try(case, now, replaces=died.call.job if died else "")

    def move(
        self, calls: Iterable[Call], ref: Ref, pid: int | None, now: float, reason: str, *, pressed: bool = False
    ) -> Moves:
        """Give live calls a new agent each, as many as there is room for side by side. The old one has the call until
        the new one waits before the room: then it has to leave, and at no time do two of them answer.
        """
        moves: Moves = []
        at_once = self.terms.at_once * (PRESSED if pressed else 1)
        room = at_once - sum(case.moved for case in self.cases.values())
        known = (self.cases, self.open.contested)
        wanted = [call for call in calls if call.state != CALL_ENDING and not any(call.job in each for each in known)]
        for call in wanted[: max(room, 0)]:
            moves += self._try(Case(call, ref, pid, now, reason, ours=True, moved=True, attended=True), now)
        return moves

    def left_alone(self, job: str, now: float) -> None:
        """The agent of a call that is moved has left the room, or died: from here on its caller waits."""
        case = self.cases.get(job)
        if case is not None and case.attended:
            self.cases[job] = replace(case, attended=False, since=now)

    def started(self, room: str, job: str, ref: Ref) -> None:
        """A call appeared in a worker's beats."""
        for key, case in self.cases.items():
            if case.call.room == room and not case.successor:
                self.cases[key] = replace(case, successor=job, successor_ref=ref)
                return

    def over(self, room: str, job: str, *, well: bool) -> None:
        """A call is over with the agent that had it, and needs no other. If it ended `well`, as it should, nothing
        speaks against its room.
        """
        if well:
            self.open.deaths.pop(room, None)
        if job in self.cases:
            self._close(self._without_successor(self.cases[job]))

    def answered(self, job: str, answer: Answer, now: float) -> Moves:
        """What came of the attempt for this call."""
        case = self.cases.get(job)
        if case is None or case.due is not None:
            return []
        match answer:
            case Alone():
                return self._over(case.call, case.ref, case.pid, now)
            case Contested(why=why):
                return self._contest(case, why, now)
            case Failed(untouched=True, why=why) if case.attended:
                return self._leave(case, why, now)
            case Failed(blind=True, untouched=False) if case.successor:
                return self._succeed(case, "", now)
            case Failed() if answer.nobody and not answer.final and now - case.since < PATIENCE:
                return self._fail(replace(case, attempt=case.attempt - 1), answer.why, now)
            case Failed():
                return self._fail(case, answer.why, now, final=answer.final)
            case Recovered(identity=identity):
                return self._succeed(case, identity, now)

    def tick(self, now: float) -> Moves:
        """Begin the attempts that are due, and give up those that nobody answered for."""
        moves: Moves = []
        for case in list(self.cases.values()):
            if case.due is not None and now >= case.due:
                moves += self._try(case, now)
            elif case.due is None and now >= case.expires:
                moves += self._abandon(case, "the attempt did not end", now)
        quarantine.forgive(self.open.deaths, now)
        return moves

    def resume(self, of_another: Open, counts: CallCounts, now: float) -> Moves:
        """Go on with what another daemon had open. The attempts it had under way are begun anew, within their time."""
        self.open, self._counts = of_another, counts
        moves: Moves = []
        for case in [case for case in self.cases.values() if case.due is None]:
            left = case.expires - OVERDUE - now
            if case.successor and not case.attended:
                moves += self._succeed(case, "", now)
            elif left > 0:
                again = self._without_successor(replace(case, attempt=case.attempt - 1))
                moves += self._try(again, now, seconds=left, detail="begun anew by the upgraded supervisor")
            else:
                moves += self._abandon(case, "the upgrade took what was left of its time", now)
        return moves

    def stop(self, now: float) -> Moves:
        """The pool ends at once: nobody is left to take a call."""
        moves: Moves = []
        for case in list(self.cases.values()):
            moves += self._give_up(case, now, log_events.CALL_LOST, "the pool is stopping")
        return moves

    # -- what is asked of it -------------------------------------------------------------------------------------------

    def left(self, job: str) -> bool:
        """Whether this call is on its way to another agent, or has gone there."""
        return job in self.cases or job in self.open.gone

    def elsewhere(self, job: str) -> bool:
        """Whether this job does not have its call: no longer, or not yet, so that its end says nothing."""
        if self.left(job):
            return job not in self.cases or not self.cases[job].attended
        return any(case.attended and case.successor == job for case in self.cases.values())

    def passed_on(self, job: str) -> bool:
        """Whether a new agent has this call: what is left of the old one is leaving."""
        return job in self.open.gone or self.has_successor(job)

    def has_successor(self, job: str) -> bool:
        case = self.cases.get(job)
        return case is not None and bool(case.successor)

    def moving(self, ref: Ref) -> bool:
        """Whether a call of this worker is still on its way to another one."""
        return any(case.moved and case.ref == ref for case in self.cases.values())

    def _full(self, ref: Ref) -> bool:
        return len(self.cases) >= CASES_MAX or sum(case.ref == ref for case in self.cases.values()) >= CASES_OF_ONE

    def is_urgent(self, now: float) -> bool:
        """Whether a caller has lost the agent just now, and a new one is on its way."""
        cases = self.cases.values()
        return any(not case.moved and case.due is None and now - case.since < CALLERS_FIRST for case in cases)

    def wake_at(self) -> float | None:
        return min((case.due for case in self.cases.values() if case.due is not None), default=None)

    # -- how it decides ------------------------------------------------------------------------------------------------

    def _try(
        self, case: Case, now: float, *, replaces: str = "", seconds: float | None = None, detail: str = ""
    ) -> Moves:
        seconds = self.terms.deadline if seconds is None else seconds
        case = replace(case, attempt=case.attempt + 1, due=None, expires=now + seconds + OVERDUE)
        self.cases[case.call.job] = case
        fields: dict[str, object] = {"reason": case.reason, "attempt": case.attempt}
        if detail:
            fields["detail"] = detail
        recover = Recover(case.call, case.attempt, seconds, moved=case.moved, replaces=replaces)
        return [_change(log_events.CALL_RECOVERING, case, now, "info" if case.moved else "warning", **fields), recover]

    def _fail(self, case: Case, why: str, now: float, *, final: bool = False) -> Moves:
        if final or case.attempt >= self.terms.attempts:
            return self._give_up(case, now, log_events.CALL_LOST, why)
        self.cases[case.call.job] = replace(case, due=now + PAUSE)
        return [_change(log_events.CALL_RECOVERING, case, now, "warning", detail=why, next_in=PAUSE)]

    def _abandon(self, case: Case, why: str, now: float) -> Moves:
        """The time of an attempt is over, and nobody has answered for it."""
        return self._leave(case, why, now) if case.attended else self._fail(case, why, now)

    def _leave(self, case: Case, why: str, now: float) -> Moves:
        """The call stays with its old agent."""
        self._without_successor(case)
        del self.cases[case.call.job]
        return [_change(log_events.CALL_RECOVERING, case, now, "warning", reason=case.reason, detail=why)]

    def _keep_waiting(self, case: Case, now: float) -> Moves:
        """The new agent died before its turn came: the old one goes on, and the attempt looks for another one."""
        self.cases[case.call.job] = self._without_successor(case)
        why = "the agent that was to take the call over died"
        return [_change(log_events.CALL_RECOVERING, case, now, "warning", reason=case.reason, detail=why)]

    def _without_successor(self, case: Case) -> Case:
        """What becomes of a job that never had the call says nothing about it."""
        if case.successor:
            self._pass_over(case.successor)
        return replace(case, successor="", successor_ref=None)

    def _succeed(self, case: Case, identity: str, now: float) -> Moves:
        self._close(case)
        event = log_events.CALL_MIGRATED if case.moved else log_events.CALL_RECOVERED
        if case.moved:
            self._counts.migrated += 1
        else:
            self._counts.recovered += 1
        fields: dict[str, object] = {"seconds": round(now - case.since, 3), "attempt": case.attempt}
        if identity:
            fields["identity"] = identity
        if case.successor_ref is not None:
            fields["by"] = str(case.successor_ref)
        return [_change(event, case, now, "info", **fields, reason=case.reason)]

    def _over(self, call: Call, ref: Ref, pid: int | None, now: float) -> Moves:
        case = self.cases.get(call.job)
        if case is not None:
            self._close(case)
        self._counts.ended += 1
        fields: dict[str, object] = {**name(call), "outcome": "alone"}
        return [Change(log_events.CALL_ENDED, now, ref, pid, fields=fields), Forget(call)]

    def _contest(self, case: Case, why: str, now: float) -> Moves:
        """Nothing is done about the call, nor about what was kept of it: it may be somebody else's."""
        told = _change(log_events.CALL_CONTESTED, case, now, "warning", identity=case.call.identity, detail=why)
        if case.attended:
            self._leave(case, why, now)
            _remember(self.open.contested, case.call.job)
        else:
            self._close(case)
            self._counts.ended += 1
        return [told]

    def _give_up(self, case: Case, now: float, event: str, why: str) -> Moves:
        self._close(case)
        if case.ours:
            self._counts.cut_by_us += 1
        else:
            self._counts.lost += 1
        fields = {"reason": case.reason, "detail": why, "attempts": case.attempt, "seconds": round(now - case.since, 3)}
        return [_change(event, case, now, "error", **fields), Forget(case.call)]

    def _close(self, case: Case) -> None:
        self.cases.pop(case.call.job, None)
        self._pass_over(case.call.job)

    def _pass_over(self, job: str) -> None:
        _remember(self.open.gone, job)

    def _supersede(self, job: str) -> Case | None:
        """The case whose new agent this dead one was; it goes on as the dead one's own, if nobody else has the call."""
        for case in self.cases.values():
            if case.successor == job:
                if not case.attended:
                    self._close(case)
                return case
        return None


def _remember(jobs: dict[str, None], job: str) -> None:
    """The latest REMEMBERED are kept."""
    jobs[job] = None
    while len(jobs) > REMEMBERED:
        del jobs[next(iter(jobs))]


def _change(event: str, case: Case, now: float, level: str, **fields: object) -> Change:
    return Change(event, now, case.ref, case.pid, level, {**name(case.call), **fields})
