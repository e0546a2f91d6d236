"""Calls whose room is gone for good: nobody is in them, and after a time their jobs are ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mindbot_worker.wire import Call

from . import events
from .actions import EndJob, Forget
from .calls import ROOM_GONE, name
from .model import Change, Phase, Worker
from .state import State


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
    contested = state.claims.is_contested(worker.ref, call.job)
    ends = call.pid is not None and call.pid != worker.pid
    detail = "its process is ended" if ends else "its process is not known"
    fields: dict[str, object] = {**name(call), "process": call.pid, "value": round(seconds, 1)}
    fields |= {"limit": state.policy.pool.gone_room_timeout}
    fields |= {"detail": f"its room is gone for good and its job did not end: {detail}"}
    state.changes.append(Change(events.CALL_GONE, now, worker.ref, worker.pid, "warning", fields))
    state.histories[worker.ref].end(call.job, now)
    state.claims.release(worker.ref, call.job)
    if call.pid is not None and ends:
        state.actions.append(EndJob(worker.ref, call.job, call.pid))
    if contested:
        return
    if state.recovery is not None:
        state.recovery.over(call.room, call.job, well=False)
    state.counts.ended += 1
    over: dict[str, object] = {**name(call), "outcome": ROOM_GONE}
    state.changes.append(Change(events.CALL_ENDED, now, worker.ref, worker.pid, fields=over))
    state.actions.append(Forget(call))


def livekit_lists(state: State, asked: Iterable[str], listed: Collection[str], now: float) -> None:
    """Of the rooms that LiveKit was asked for it has listed these."""
    rooms = set(asked)
    for history in state.histories.values():
        for call in history.calls():
            if call.room in rooms:
                history.rooms.livekit_lists(call.job, call.room in listed, now)
