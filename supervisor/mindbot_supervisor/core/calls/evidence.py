"""Whether LiveKit's account of a room agrees with ours on whose agent is dead: before anything is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindbot_supervisor.core.calls.recovery_state import Case
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers.model import Ref


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job that LiveKit lists for a room, and the dispatch that it came of."""

    id: str
    identity: str = ""
    worker_id: str = ""
    """Who has it, as LiveKit knows the worker; empty where LiveKit does not say."""
    dispatch: str = ""
    running: bool = True


def against(state: State, job: str, listed: Sequence[ListedJob]) -> str:
    """Why this job's agent must be left alone, in one plain sentence; empty where nothing speaks against it."""
    recovery = state.recovery
    case = recovery.cases.get(job) if recovery is not None else None
    if recovery is None or case is None:
        return ""
    call = case.call
    named = [each for each in listed if each.id == job and each.running]
    for each in named:
        other = _living(state, case, each.worker_id)
        if other is not None:
            return f"to LiveKit it is a job of worker {other}, which lives"
    for each in listed:
        same = each.running and each.id != job and call.identity and each.identity == call.identity
        if same and not recovery.left(each.id):  # else it is one that this agent took over from
            return f"to LiveKit its agent is that of another job, {each.id}"
    known = named or (call.dispatch and any(each.dispatch == call.dispatch for each in listed))
    other = None if known else _beside(state, case)
    if other is not None:
        return f"LiveKit does not know this job, and worker {other} has a call in its room"
    return ""


def _living(state: State, case: Case, worker_id: str) -> Ref | None:
    """Another worker that LiveKit knows by this id."""
    if not worker_id:
        return None
    for ref, history in state.histories.items():
        if ref != case.ref and history.beat is not None and history.beat.worker_id == worker_id:
            return ref
    return None


def _beside(state: State, case: Case) -> Ref | None:
    """Another worker that has a call in the same room, and not the one that is to follow this one."""
    for ref in state.histories:
        for call in state.settled(ref) if ref != case.ref else ():
            if call.room == case.call.room and call.job != case.successor:
                return ref
    return None
