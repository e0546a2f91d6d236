"""Tracks the pool's calls from heartbeat to heartbeat: recovered when their agent dies, moved when it must go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Prepare
from mindbot_supervisor.core.calls import migration
from mindbot_supervisor.core.calls.call_outcomes import killed, lost, name, started_and_ended
from mindbot_supervisor.core.calls.claims import Rival
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers.lifecycle_events import Moved
from mindbot_supervisor.core.workers.model import Death, Phase, Reason, Ref, Verdict, Worker
from mindbot_worker.protocol.heartbeat import KILLED, Call

FEW = 1
"""So many calls find a warm process in any case: every worker that can take one has one."""
CHANCE = 1
"""LiveKit chooses by chance between workers with equal load, so that some get one call more than their share."""


def warm_for(calls: int, workers: int) -> int:
    """For each of these workers; 0 where what it has will do."""
    return ceil(calls / workers) + CHANCE if calls > FEW and workers else 0


@dataclass(frozen=True, slots=True)
class Before:
    """A worker's calls when it was last heard, and by job: those whose rooms were gone, so that nobody has lost an
    agent, and those whose processes we killed ourselves, as they were hung.
    """

    calls: tuple[Call, ...]
    gone: Collection[str] = ()
    hung: Collection[str] = ()


def claim(state: State, ref: Ref, calls: Iterable[Call]) -> list[tuple[Call, Rival]]:
    """Note what this worker says that it has; what of it another one has, and that is news."""
    replaced = state.recovery.left if state.recovery is not None else lambda _: False
    return state.claims.hear(ref, calls, replaced)


def follow(state: State, before: Before, worker: Worker, now: float) -> None:
    """What became of its calls since its last beat; one whose agent was killed is given a new one."""
    recovery, ref, pid, history = state.recovery, worker.ref, worker.pid, state.histories[worker.ref]
    assert history.beat is not None
    for call, rival in claim(state, ref, history.calls()):
        contest(state, worker, call, rival.ref, now)
    beat = replace(history.beat, calls=state.settled(ref))
    died = killed(before.calls, beat, before.gone)
    contested = {call.job for call in died if not _is_left(state, call) and _has_rival(state, worker, call, now)}
    if recovery is not None and not state.stopping:
        for call in (call for call in died if call.job not in contested):
            ours = call.job in before.hung
            reason = Reason.HUNG.value if ours else KILLED
            state.make(recovery.lost(call, ref, pid, now, reason=reason, ours=ours))
    elsewhere = recovery.elsewhere if recovery is not None else lambda _: False
    others = partial(_either, contested, elsewhere)
    for change in started_and_ended(before.calls, beat, ref, pid, now, state.counts, others, before.gone):
        state.changes.append(change)
        if recovery is None:
            continue
        room, job = str(change.fields["room"]), str(change.fields["job"])
        if change.event == log_events.CALL_STARTED:
            recovery.started(room, job, ref)
        else:
            recovery.over(room, job, well=change.event == log_events.CALL_ENDED)


def _either(jobs: Collection[str], elsewhere: Callable[[str], bool], job: str) -> bool:
    return job in jobs or elsewhere(job)


def _is_left(state: State, call: Call) -> bool:
    """Whether this call is on its way to another agent already, or has gone there."""
    return state.recovery is not None and state.recovery.left(call.job)


def contest(state: State, worker: Worker, call: Call, rival: Ref, now: float) -> None:
    """Two living workers name the same call, or the same agent, as their own."""
    detail = f"worker {rival}, which lives, has it by its own word: nothing is done about this call"
    fields = {**name(call), "identity": call.identity, "rival": str(rival), "detail": detail}
    state.tell(log_events.CALL_CONTESTED, now, worker, "warning", **fields)


def _has_rival(state: State, worker: Worker, call: Call, now: float) -> bool:
    """Whether another living worker says that it has this call: then that is told, and its end is counted as one."""
    rival = state.claims.rival_of(worker.ref, call.job)
    if rival is not None:
        state.counts.ended += 1
        contest(state, worker, call, rival, now)
    return rival is not None


def worker_gone(
    state: State,
    worker: Worker,
    verdict: Death,
    calls: tuple[Call, ...],
    now: float,
    *,
    gone: Collection[str] = (),
) -> None:
    """Its calls are recovered where that is enabled, and counted by how it ended where not.

    `gone`: those whose rooms were gone before: nobody was in them.
    """
    if state.recovery is not None:
        for call in calls:
            state.recovery.left_alone(call.job, now)
        calls = tuple(call for call in calls if not state.recovery.left(call.job))
    state.counts.ended += sum(call.job in gone for call in calls)
    calls = tuple(call for call in calls if call.job not in gone)
    if verdict is not Death.ASKED:
        calls = tuple(call for call in calls if not _has_rival(state, worker, call, now))
    if state.recovery is not None and verdict is not Death.ASKED and not state.stopping:
        ours = verdict is Death.KILLED
        for call in calls:
            state.make(state.recovery.lost(call, worker.ref, worker.pid, now, reason=verdict.value, ours=ours))
        _announce(state, sum(call.job in state.recovery.cases for call in calls))
        return
    if verdict is Death.KILLED:
        state.counts.cut_by_us += len(calls)
    elif verdict is not Death.ASKED:
        state.counts.lost += len(calls)
    else:
        state.counts.ended += len(calls)
    if verdict is not Death.ASKED:
        state.changes += lost(calls, worker.ref, worker.pid, now, verdict.value)


def move(state: State, worker: Worker, now: float) -> None:
    """Give its calls to others, as far as they have seats, if their end must not be waited for."""
    why = migration.reason(worker, now, hurried=worker.ref in state.hurried)
    if state.recovery is None or why is None:
        return
    calls = _unmoved(state, worker.ref)[: _seats_beside(state, worker.ref)]
    pressed = why in (Reason.MEMORY, Reason.DRAIN_TIMEOUT)
    state.make(state.recovery.move(calls, worker.ref, worker.pid, now, why.value, pressed=pressed))


def move_next(state: State, now: float) -> None:
    """One call has been moved: it is the next one's turn."""
    for worker in list(state.workers.values()):
        move(state, worker, now)


def come_first(state: State, now: float) -> bool:
    """Whether other workers are giving callers new agents at this moment: what else is to start can wait for that."""
    if state.recovery is None or not state.recovery.is_urgent(now):
        return False
    return any(migration.takes_calls(worker) for worker in state.workers.values())


def end_moved(state: State, now: float) -> None:
    """End the workers that only lived on until their calls were with others."""
    for ref, worker in list(state.workers.items()):
        waits = worker.phase is Phase.KILLING and migration.reason(worker, now, hurried=False) is not None
        if waits and state.recovery is not None and not _unmoved(state, ref) and not state.recovery.moving(ref):
            state.step(worker, Moved(), now)


def grace(state: State, ref: Ref, verdict: Verdict) -> float:
    """Seconds that a worker is spared for its calls to be moved."""
    movable = verdict.reason is Reason.MEMORY and _unmoved(state, ref) and _seats_beside(state, ref)
    return migration.MOVE_GRACE if movable else 0.0


def _announce(state: State, calls: int) -> None:
    """Whoever may get these calls in a moment can prepare for them."""
    takers = [ref for ref, worker in state.workers.items() if migration.takes_calls(worker)]
    if processes := warm_for(calls, len(takers)):
        state.make([Prepare(ref, processes) for ref in takers])


def _unmoved(state: State, ref: Ref) -> list[Call]:
    left = state.recovery.left if state.recovery is not None else lambda _: False
    gone = state.histories[ref].rooms.since
    return [call for call in state.settled(ref) if not left(call.job) and call.job not in gone]


def _seats_beside(state: State, ref: Ref) -> int:
    """How many calls of this worker the others can take now; none without recovery."""
    if state.recovery is None or state.stopping:
        return 0
    others = ((worker, state.calls_of(each)) for each, worker in state.workers.items() if each != ref)
    return max(migration.seats(others, state.policy.pool.max_calls) - len(state.recovery.cases), 0)
