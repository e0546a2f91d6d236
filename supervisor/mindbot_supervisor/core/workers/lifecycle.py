"""The life of one worker: `step` is the only place where its phase changes.

STARTING ──ready──> READY ──TERM──> DRAINING ──deadline──> KILLING ──> gone
    └────────────────┴───────────────┴──hard verdict────────┘

A worker without a pid is still being started: it is withdrawn, or gets its signal as soon as it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Action, DumpStacks, Kill, Terminate, Withdraw
from mindbot_supervisor.core.policy import HUNG_CALLS_GRACE, KILL_REPEAT, MEMORY_STACK_GRACE, STACK_GRACE, Policy
from mindbot_supervisor.core.workers.lifecycle_events import (
    Began,
    Happening,
    Judged,
    Kept,
    Moved,
    Passed,
    Relieved,
    Said,
)
from mindbot_supervisor.core.workers.model import Change, Phase, Reason, Urgency, Verdict, Worker
from mindbot_worker.protocol.heartbeat import DRAINING as SAYS_DRAINING
from mindbot_worker.protocol.heartbeat import READY as SAYS_READY

STACKS = {
    Reason.HUNG: STACK_GRACE,
    Reason.START: STACK_GRACE,
    Reason.DRAIN_TIMEOUT: STACK_GRACE,
    Reason.MEMORY: MEMORY_STACK_GRACE,
}
"""Reasons for which the stacks say why it does not answer, start or end, or what it fills its memory with; and how
long they may take to come."""


@dataclass(frozen=True, slots=True)
class Step:
    """The worker after an event, what to do, and what to tell."""

    worker: Worker
    actions: tuple[Action, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(slots=True)
class _Move:
    """Collects what one step brings about."""

    worker: Worker
    now: float
    actions: list[Action] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def tell(self, event: str, level: str = "info", /, **fields: object) -> None:
        self.changes.append(Change(event, self.now, self.worker.ref, self.worker.pid, level, fields))

    def tell_verdict(self, event: str, level: str, verdict: Verdict, calls: int) -> None:
        fields = {"reason": verdict.reason.value, "calls": calls, **verdict.fields()}
        self.changes.append(Change(event, self.now, self.worker.ref, self.worker.pid, level, fields))

    def done(self) -> Step:
        return Step(self.worker, tuple(self.actions), tuple(self.changes))


def step(worker: Worker, event: Happening, now: float, policy: Policy) -> Step:
    """The next state of `worker`. An event that means nothing in its phase changes nothing."""
    if worker.phase is Phase.READY and _as_it_was(worker, event, policy):
        return Step(worker)
    move = _Move(worker, now)
    match event:
        case Began():
            _begin(move, event)
        case Said():
            _said(move, event, policy)
        case Judged(verdict=verdict, calls=calls, grace=grace) if verdict.urgency is Urgency.KILL:
            _condemn(move, verdict, calls, grace)
        case Judged(verdict=verdict):
            _retire(move, verdict)
        case Relieved(verdict=verdict, calls=calls):
            _drain(move, verdict, calls, policy)
        case Passed():
            _passed(move, event, policy)
        case Kept() if worker.phase in (Phase.STARTING, Phase.READY):
            move.worker = replace(worker, leaving=None)
        case Moved() if worker.phase is Phase.KILLING and not worker.killed:
            _kill(move)
    return move.done()


def _begin(move: _Move, began: Began) -> None:
    move.worker = replace(move.worker, pid=began.pid, roll=began.roll)
    if move.worker.phase is Phase.DRAINING:
        _terminate(move)
    elif move.worker.phase is Phase.KILLING:
        _kill(move)


def _as_it_was(worker: Worker, event: Happening, policy: Policy) -> bool:
    """Whether nothing can follow for a ready worker: of nearly every beat and tick, and there are many."""
    if isinstance(event, Said):
        return not worker.suspect and event.state == SAYS_READY and event.registered == worker.registered
    return isinstance(event, Passed) and (worker.suspect or event.silence < policy.limits.suspect_after)


def _said(move: _Move, said: Said, policy: Policy) -> None:
    worker = move.worker
    if worker.phase is Phase.KILLING:
        return  # it speaks again, too late: its replacement is under way
    if worker.suspect:
        move.worker = worker = replace(worker, suspect=False)
        if worker.phase is Phase.READY:
            move.tell(log_events.WORKER_READY, detail="heard again")
    if said.state == SAYS_DRAINING and worker.phase in (Phase.STARTING, Phase.READY):
        _left(move, said.calls, policy)
    elif said.state == SAYS_READY and worker.phase is Phase.STARTING:
        move.worker = replace(worker, phase=Phase.READY, ready_at=move.now, registered=said.registered)
        move.tell(log_events.WORKER_READY, after=round(move.now - worker.spawned_at, 3), registered=said.registered)
    elif worker.phase is Phase.READY and said.registered != worker.registered:
        move.worker = replace(worker, registered=said.registered)
        if said.registered is False:
            move.tell(log_events.WORKER_UNREADY, "warning", reason=Reason.UNREGISTERED.value, detail=said.problem)
        else:
            move.tell(log_events.WORKER_READY, registered=said.registered)


def _left(move: _Move, calls: int, policy: Policy) -> None:
    """It drains although nobody here asked: somebody else told it to. It is let go, its seat is filled."""
    verdict = Verdict(Reason.LEFT, Urgency.DRAIN, detail="it began to drain unasked")
    deadline = move.now + policy.pool.drain_timeout
    move.worker = replace(move.worker, phase=Phase.DRAINING, leaving=verdict, deadline=deadline, left_at=move.now)
    move.tell_verdict(log_events.WORKER_DRAINING, "warning", verdict, calls)


def _retire(move: _Move, verdict: Verdict) -> None:
    """A soft reason: it goes on serving until its replacement is ready."""
    if move.worker.seated:
        move.worker = replace(move.worker, leaving=verdict)


def _drain(move: _Move, verdict: Verdict, calls: int, policy: Policy) -> None:
    """Told to finish."""
    if move.worker.phase not in (Phase.STARTING, Phase.READY):
        return
    deadline = move.now + policy.pool.drain_timeout
    move.worker = replace(move.worker, phase=Phase.DRAINING, leaving=verdict, deadline=deadline, left_at=move.now)
    _terminate(move)
    move.tell_verdict(log_events.WORKER_DRAINING, "info", verdict, calls)


def _terminate(move: _Move) -> None:
    """SIGTERM, once: a second one would end all its calls."""
    if move.worker.pid is None:
        move.actions.append(Withdraw(move.worker.ref))
    elif not move.worker.termed:
        move.worker = replace(move.worker, termed=True)
        move.actions.append(Terminate(move.worker.ref))


def _condemn(move: _Move, verdict: Verdict, calls: int, grace: float = 0.0) -> None:
    """A hard reason: stacks first, where they tell something, then the end."""
    worker = move.worker
    if worker.phase is Phase.KILLING:
        return
    hung = verdict.reason is Reason.HUNG and calls and worker.phase is not Phase.DRAINING
    stacks = STACKS.get(verdict.reason, 0.0) if worker.pid is not None else 0.0
    wait = HUNG_CALLS_GRACE if hung else max(grace, stacks)
    due = move.now + (stacks if hung else wait)
    left_at = move.now if worker.left_at is None else worker.left_at
    move.worker = replace(
        worker, phase=Phase.KILLING, leaving=verdict, deadline=move.now + wait, left_at=left_at, stacks_due=due
    )
    if stacks:
        move.actions.append(DumpStacks(worker.ref))
    level = "error" if verdict.reason is not Reason.STOP else "warning"
    move.tell_verdict(log_events.WORKER_KILLING, level, verdict, calls)
    if not wait:
        _kill(move)


def _kill(move: _Move) -> None:
    move.worker = replace(move.worker, killed=True, deadline=move.now + KILL_REPEAT)
    ref = move.worker.ref
    move.actions.append(Withdraw(ref) if move.worker.pid is None else Kill(ref))


def _passed(move: _Move, passed: Passed, policy: Policy) -> None:
    match move.worker.phase:
        case Phase.STARTING:
            _come_alive(move, policy)
        case Phase.READY:
            _suspect(move, passed.silence, policy)
        case Phase.DRAINING:
            _overdue(move, passed, policy)
        case Phase.KILLING:
            _finish(move, passed.relieved)


def _finish(move: _Move, relieved: bool) -> None:
    """SIGKILL at the deadline, and again until it is gone; sooner once its replacement is ready."""
    worker = move.worker
    due = worker.stacks_due if relieved and not worker.killed else worker.deadline
    if due is None or move.now >= due:
        _kill(move)


def _come_alive(move: _Move, policy: Policy) -> None:
    """A program that sends no beats is ready once it has lived `ready_after` seconds."""
    worker = move.worker
    heard = policy.beats_required or worker.registered is not None
    if heard or worker.pid is None or move.now - worker.spawned_at < policy.ready_after:
        return
    move.worker = replace(worker, phase=Phase.READY, ready_at=move.now)
    move.tell(log_events.WORKER_READY, after=round(move.now - worker.spawned_at, 3))


def _suspect(move: _Move, silence: float, policy: Policy) -> None:
    if move.worker.suspect or silence < policy.limits.suspect_after:
        return
    move.worker = replace(move.worker, suspect=True)
    move.tell(
        log_events.WORKER_SUSPECT,
        "warning",
        reason=Reason.HUNG.value,
        value=round(silence, 3),
        limit=policy.limits.suspect_after,
    )


def end_of_drain(worker: Worker, closing_until: float, policy: Policy) -> float | None:
    """When a draining worker is killed: at its deadline, or sooner, if nobody is in a call of it any more."""
    if worker.quiet_since is None:
        return worker.deadline
    stop = max(worker.quiet_since + policy.pool.stop_timeout, closing_until)
    return stop if worker.deadline is None else min(stop, worker.deadline)


def _overdue(move: _Move, passed: Passed, policy: Policy) -> None:
    """Calls may last until the drain deadline. Without any a worker has `pool.stop_timeout` to end; a job whose room is
    gone has its own time, and its process is ended then.
    """
    worker = move.worker
    if passed.calls or worker.quiet_since is None or worker.leftover:
        move.worker = worker = replace(worker, quiet_since=None if passed.calls or worker.leftover else move.now)
    due = end_of_drain(worker, passed.closing_until, policy)
    if due is None or move.now < due:
        return
    limit = policy.pool.drain_timeout if due == worker.deadline else policy.pool.stop_timeout
    verdict = Verdict(Reason.DRAIN_TIMEOUT, Urgency.KILL, limit=limit, detail="still alive after its time to drain")
    _condemn(move, verdict, passed.calls)
