"""The pool's live calls: followed from beat to beat, recovered when their agent dies, moved when it must go."""

from __future__ import annotations

from mindbot_worker.wire import KILLED, Beat, Call

from . import ahead, events, migration
from .actions import Prepare
from .calls import killed, lost, started_and_ended
from .happenings import Moved
from .model import Death, Phase, Reason, Ref, Verdict, Worker
from .state import State


def follow(
    state: State, before: tuple[Call, ...], beat: Beat, worker: Worker, now: float, hung: frozenset[str] = frozenset()
) -> None:
    """What became of its calls since its last beat; one whose agent was killed is given a new one.

    `hung`: jobs that we killed ourselves, as they were hung.
    """
    recovery, pid = state.recovery, worker.pid
    if recovery is None:
        state.changes += started_and_ended(before, beat, worker.ref, pid, now, state.counts)
        return
    for call in [] if state.stopping else killed(before, beat):
        ours = call.job in hung
        reason = Reason.HUNG.value if ours else KILLED
        state.make(recovery.lost(call, worker.ref, pid, now, reason=reason, ours=ours))
    for change in started_and_ended(before, beat, worker.ref, pid, now, state.counts, recovery.elsewhere):
        state.changes.append(change)
        room, job = str(change.fields["room"]), str(change.fields["job"])
        if change.event == events.CALL_STARTED:
            recovery.started(room, job, worker.ref)
        else:
            recovery.over(room, job, well=change.event == events.CALL_ENDED)


def worker_gone(state: State, worker: Worker, verdict: Death, calls: tuple[Call, ...], now: float) -> None:
    """Its calls are recovered where that is enabled, and counted by how it ended where not."""
    if state.recovery is not None:
        for call in calls:
            state.recovery.left_alone(call.job, now)
        calls = tuple(call for call in calls if not state.recovery.left(call.job))
        if verdict is not Death.ASKED and not state.stopping:
            for call in calls:
                ours = verdict is Death.KILLED
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
    if processes := ahead.warm_for(calls, len(takers)):
        state.make([Prepare(ref, processes) for ref in takers])


def _unmoved(state: State, ref: Ref) -> list[Call]:
    left = state.recovery.left if state.recovery is not None else lambda _: False
    return [call for call in state.histories[ref].calls() if not left(call.job)]


def _seats_beside(state: State, ref: Ref) -> int:
    """How many calls of this worker the others can take now; none without recovery."""
    if state.recovery is None or state.stopping:
        return 0
    others = ((worker, state.calls_of(each)) for each, worker in state.workers.items() if each != ref)
    return max(migration.seats(others, state.policy.pool.max_calls) - len(state.recovery.cases), 0)
