"""Calls whose room is gone for good: nobody is in them, and after a time their jobs are ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Forget, KillJob
from mindbot_supervisor.core.calls.call_liveness import Found
from mindbot_supervisor.core.calls.call_outcomes import ROOM_GONE, name
from mindbot_supervisor.core.calls.gone_rooms import Ending
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers.model import Change, Phase, Ref, Worker
from mindbot_worker.protocol.heartbeat import Call


def act(state: State, worker: Worker, now: float) -> None:
    """End the jobs whose rooms have been gone for `pool.gone_room_timeout`, and count their calls as ended."""
    history, timeout = state.histories[worker.ref], state.policy.pool.gone_room_timeout
    if not history.rooms.since or worker.phase is Phase.KILLING:
        return
    for call in history.calls():
        since = history.rooms.since.get(call.job)
        if since is not None and now - since >= timeout:
            _end(state, worker, call, now - since, now)


def _end(state: State, worker: Worker, call: Call, seconds: float, now: float) -> None:
    history, contested = state.histories[worker.ref], state.claims.is_contested(worker.ref, call.job)
    history.end(call.job, now)
    state.claims.release(worker.ref, call.job)
    history.rooms.ending[call.job] = Ending(call, seconds)
    if not contested and not (state.recovery is not None and state.recovery.elsewhere(call.job)):
        _count(state, worker, call, now)
    if call.pid is None or call.pid == worker.pid:
        killed(
            state, worker.ref, call.job, Found(belongs=False, detail="its process is not known: it was left alone"), now
        )
    else:
        state.actions.append(KillJob(worker.ref, call.job, call.pid))


def _count(state: State, worker: Worker, call: Call, now: float) -> None:
    if state.recovery is not None:
        state.recovery.over(call.room, call.job, well=False)
    state.counts.ended += 1
    over: dict[str, object] = {**name(call), "outcome": ROOM_GONE}
    state.changes.append(Change(log_events.CALL_ENDED, now, worker.ref, worker.pid, fields=over))
    state.actions.append(Forget(call))


def killed(state: State, ref: Ref, job: str, found: Found, now: float) -> bool:
    """What became of the process of such a job; False for a job that was ended for another reason."""
    history = state.histories.get(ref)
    ending = history.rooms.ending.pop(job, None) if history is not None else None
    if ending is None:
        return False
    worker, limit = state.workers[ref], state.policy.pool.gone_room_timeout
    fields = {**name(ending.call), "process": ending.call.pid, "value": round(ending.seconds, 1), "limit": limit}
    fields |= {key: value for key in ("where", "stack") if (value := getattr(found, key))}
    done = "its process was killed" if found.belongs else found.detail
    fields["detail"] = f"its room is gone for good and its job did not end: {done}"
    state.changes.append(Change(log_events.CALL_GONE, now, ref, worker.pid, "warning", fields))
    return True


def livekit_lists(state: State, asked: Iterable[str], listed: Collection[str], now: float) -> None:
    """Of the rooms that LiveKit was asked for it has listed these."""
    rooms = set(asked)
    for history in state.histories.values():
        for call in history.calls():
            if call.room in rooms:
                history.rooms.livekit_lists(call.job, call.room in listed, now)
