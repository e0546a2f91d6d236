"""Calls whose job process does not beat: told with its stack, and the process killed where it stays silent too long.

A worker that is itself silent says nothing of its jobs: that is for the rule about hung workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import KillJob, LookAtJob
from mindbot_supervisor.core.calls.call_liveness import Found, JobBeat, Stall
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.health.host_pressure import PATIENCE
from mindbot_supervisor.core.policy import KILL_REPEAT, Policy
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers.model import Phase, Reason, Ref, Worker
from mindbot_worker.protocol.heartbeat import CALL_ENDING, Call

LOOK_PATIENCE = 3.0
"""Seconds for the stack of a silent process to come; then the stall is told without."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """A call that is stalled now, for whoever asks."""

    call: Call
    seconds: float
    limit: float
    kill_at: float | None
    """When its process is killed if it is not heard by then; None: it is not."""
    found: Found


def act(state: State, now: float) -> None:
    """Look at every job that is known to beat."""
    for ref, history in list(state.histories.items()):
        worker = state.workers[ref]
        if history.jobs and worker.phase is not Phase.KILLING:
            for call in history.calls():
                if (job := history.jobs.get(call.job)) is not None:
                    _follow(state, worker, call, job, now)


def looked(state: State, ref: Ref, job: str, found: Found, now: float) -> None:
    """What the look at a silent job process has found."""
    known = _known(state, ref, job)
    if known is None or known[2].told:
        return
    call, beat, stall = known
    stall.found, stall.stopped = found, found.stopped
    _tell(state, state.workers[ref], call, beat, stall, now)
    _follow(state, state.workers[ref], call, beat, now)


def stopped(state: State, ref: Ref, jobs: frozenset[str]) -> None:
    """Which of the silent jobs of this worker are stopped now, by the kernel's word."""
    for job, beat in state.histories[ref].jobs.items():
        if beat.stall is not None:
            beat.stall.stopped = job in jobs


def killed(state: State, ref: Ref, job: str, found: Found, now: float) -> None:
    """A job process was killed, or spared because it is none of this worker's."""
    known = _known(state, ref, job)
    if known is None or known[2].end_told:
        return
    call, beat, stall = known
    stall.end_told, stall.refused = True, not found.belongs
    worker, limit = state.workers[ref], state.policy.limits.hung_after
    fields = {**_evidence(call, beat, found), "limit": limit, "reason": Reason.HUNG.value}
    fields["detail"] = found.detail or ("its process was stopped" if found.stopped else "its event loop was blocked")
    state.tell(log_events.CALL_HUNG, now, worker, "error", **fields)


def killed_jobs(history: History) -> frozenset[str]:
    """Jobs of this worker whose processes were killed because they were hung."""
    stalls = ((job, beat.stall) for job, beat in history.jobs.items())
    return frozenset(job for job, stall in stalls if stall is not None and stall.killed_at is not None)


def stalled(history: History, policy: Policy) -> Iterator[Stalled]:
    """The calls of this worker that are stalled now, the longest first."""
    limits = policy.limits
    found = [(call, beat) for call in history.calls() if (beat := history.jobs.get(call.job)) and beat.stall]
    for call, beat in sorted(found, key=lambda each: each[1].stamped):
        stall = beat.stall
        if stall is None or _resumed(beat, stall, policy):
            continue
        spared = call.pid is None or stall.refused or (call.state == CALL_ENDING and not stall.stopped)
        limit = limits.suspect_after if stall.stopped else limits.hung_after
        seen = replace(stall.found or Found(), stopped=stall.stopped)
        yield Stalled(call, beat.age, limit, None if spared else beat.since + limit, seen)


# -- how it decides ----------------------------------------------------------------------------------------------------


def _follow(state: State, worker: Worker, call: Call, beat: JobBeat, now: float) -> None:
    stall, history = beat.stall, state.histories[worker.ref]
    current = history.loop_at is not None and now - history.loop_at < state.policy.limits.suspect_after
    if stall is None:
        if current and beat.age >= state.policy.limits.suspect_after:
            beat.stall = Stall(beat.stamped, now)
            _look(state, worker, call, beat, beat.stall, now)
        return
    if not stall.told and now - stall.asked_at >= LOOK_PATIENCE:
        _tell(state, worker, call, beat, stall, now)
    if not stall.told:
        return
    if _resumed(beat, stall, state.policy):
        beat.stall = None
        seconds = round(beat.stamped - stall.stamped, 3)
        named = {"room": call.room, "job": call.job, "process": call.pid}
        state.tell(log_events.CALL_RESUMED, now, worker, "info", **named, seconds=seconds)
    elif current and _is_due(state, call, beat, stall, now) and call.pid is not None:
        stall.killed_at = now
        state.actions.append(KillJob(worker.ref, call.job, call.pid))


def _look(state: State, worker: Worker, call: Call, beat: JobBeat, stall: Stall, now: float) -> None:
    if call.pid is None:
        _tell(state, worker, call, beat, stall, now)
    else:
        state.actions.append(LookAtJob(worker.ref, call.job, call.pid))


def _tell(state: State, worker: Worker, call: Call, beat: JobBeat, stall: Stall, now: float) -> None:
    stall.told = True
    found = stall.found or Found(detail="its stack did not come in time" if call.pid is not None else "no pid was told")
    fields = {**_evidence(call, beat, found), "limit": state.policy.limits.suspect_after}
    if found.detail:
        fields["detail"] = found.detail
    state.tell(log_events.CALL_STALLED, now, worker, "warning", **fields)


def _evidence(call: Call, beat: JobBeat, found: Found) -> dict[str, object]:
    fields: dict[str, object] = {"room": call.room, "job": call.job, "process": call.pid, "value": round(beat.age, 3)}
    return fields | {name: value for name in ("where", "stack") if (value := getattr(found, name))}


def _resumed(beat: JobBeat, stall: Stall, policy: Policy) -> bool:
    """A later stamp is there: what a late heartbeat tells of an old one is off by less."""
    return beat.stamped - stall.stamped >= policy.limits.suspect_after / 2


def _is_due(state: State, call: Call, beat: JobBeat, stall: Stall, now: float) -> bool:
    limits = state.policy.limits
    if stall.killed_at is not None and now - stall.killed_at < KILL_REPEAT:
        return False
    if stall.stopped:
        return beat.age >= limits.suspect_after
    if call.state == CALL_ENDING:
        return False  # its agent has done its work: LiveKit limits how long its end may take
    return beat.age >= limits.hung_after and not _excused(state, beat, now)


def _excused(state: State, beat: JobBeat, now: float) -> bool:
    """Several are late, and the host does not keep up: then it is not their own fault, for a while."""
    limits = state.policy.limits
    if beat.age >= PATIENCE * limits.hung_after or state.pressure.overloaded(now) is None:
        return False
    silences = [now - each.loop_at for each in state.histories.values() if each.loop_at is not None]
    silences += [job.age for each in state.histories.values() for job in each.jobs.values()]
    return sum(silence >= limits.suspect_after for silence in silences) >= 2


def _known(state: State, ref: Ref, job: str) -> tuple[Call, JobBeat, Stall] | None:
    history = state.histories.get(ref)
    beat = history.jobs.get(job) if history is not None else None
    if history is None or beat is None or beat.stall is None:
        return None
    call = next((each for each in history.calls() if each.job == job), None)
    return None if call is None else (call, beat, beat.stall)
