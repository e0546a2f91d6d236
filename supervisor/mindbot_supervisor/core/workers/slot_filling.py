"""Fills the slots of the pool: which worker leaves a slot, when an empty slot is filled, what a failure means for
it.
"""

from __future__ import annotations

from dataclasses import replace

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Spawn
from mindbot_supervisor.core.calls import tracking
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.policy import START_STAGGER
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.rollout import progress
from mindbot_supervisor.core.workers import slots
from mindbot_supervisor.core.workers.lifecycle_events import Relieved
from mindbot_supervisor.core.workers.model import BY_OPERATOR, Change, Phase, Reason, Worker

NOT_A_FAILURE = BY_OPERATOR | {Reason.LIFETIME, Reason.LEFT, Reason.DRAIN_TIMEOUT, Reason.PRESSURE, Reason.TEMPLATE}
"""Reasons to leave that say nothing against the slot."""


def settle(state: State, now: float) -> None:
    """Do what has become possible: let workers go, carry a rolling change on, fill seats."""
    if not state.reseat:
        return
    state.reseat = False
    _relieve(state, now)
    progress.carry_on(state, now)
    if not state.stopping and not tracking.come_first(state, now):
        _fill(state, now)
        _try_again(state, now)
        if (over := state.shortage.over(now)) is not None:
            state.changes.append(over)


def _try_again(state: State, now: float) -> None:
    """Start those that the host had no room for, as far as it is time for it."""
    for ref in [ref for ref in state.shortage.waiting if state.workers[ref].phase is not Phase.STARTING]:
        state.shortage.gone(ref, now)  # withdrawn meanwhile
    for ref in state.shortage.due(now):
        state.workers[ref] = replace(state.workers[ref], spawned_at=now)
        state.histories[ref] = History(born=now)
        state.last_start = now
        state.actions.append(Spawn(ref))


def _relieve(state: State, now: float) -> None:
    """Tell every leaving worker whose replacement is ready to finish."""
    for worker in list(state.workers.values()):
        soft = worker.leaving is not None and worker.phase in (Phase.STARTING, Phase.READY)
        if soft and worker.leaving is not None and state.relieved(worker):
            state.step(worker, Relieved(worker.leaving, state.people_on(worker.ref)), now)


def _fill(state: State, now: float) -> None:
    """Start a worker for every seat that is free and due."""
    taken = _taken(state)
    starting = sum(worker.phase is Phase.STARTING for worker in state.workers.values())
    for index, slot in state.slots.items():
        if index in taken or not slots.is_due(slot, now):
            continue
        if slot.generation == 0 and _staggered(state, starting, now):
            continue
        _spawn(state, slot, now)
        starting += 1


def _taken(state: State) -> set[int]:
    """Slots that want no worker now: they have one, or theirs says that it can never start."""
    return {worker.ref.slot for worker in state.workers.values() if worker.seated} | state.boot.unstartable


def _staggered(state: State, starting: int, now: float) -> bool:
    """When the pool is filled, only so many start side by side; but a slow one holds the next up only so long."""
    return starting >= state.policy.max_starting and now - state.last_start < START_STAGGER


def _spawn(state: State, slot: slots.Slot, now: float) -> None:
    if slot.parked:
        fields = {"slot": slot.index, "failures": slot.streak}
        state.changes.append(Change(log_events.SLOT_RETRIED, now, fields=fields))
    ref = slot.next_ref()
    state.slots[slot.index] = replace(slots.filled(slot), restarts=slot.restarts + (slot.generation > 0))
    state.workers[ref] = Worker(ref, spawned_at=now)
    state.histories[ref] = History(born=now)
    state.last_start = now
    if state.shortage.since is None:
        state.actions.append(Spawn(ref))
    else:
        state.shortage.hold(ref)


def next_due(state: State) -> float | None:
    """When a seat is filled that waits for its time. While the pool stops nobody waits for a seat."""
    taken = state.slots.keys() if state.stopping else _taken(state)
    due = (
        slot.retry_at
        for index, slot in state.slots.items()
        if slot.retry_at is not None and index not in taken and slots.is_due(slot, slot.retry_at)
    )
    return min(due, default=None)


def fail(state: State, worker: Worker, now: float, reason: Reason = Reason.CRASH) -> None:
    """Count a failure against the slot, when the worker leaves service and not when it exits."""
    slot = state.slots.get(worker.ref.slot)
    if slot is None or reason in NOT_A_FAILURE or state.stopping:
        return
    progress.stop(state, worker, now)
    slot = state.slots[slot.index] = slots.failed(slot, now, worker.roll, state.policy.restart)
    state.restarts[reason] = state.restarts.get(reason, 0) + 1
    if slot.retry_at is None:
        return
    event = log_events.SLOT_PARKED if slot.parked else log_events.SLOT_BACKOFF
    fields = {"slot": slot.index, "retry_in": round(slot.retry_at - now, 3), "failures": slot.streak}
    level = "error" if slot.parked else "warning"
    state.changes.append(Change(event, now, level=level, fields={**fields, "reason": reason.value}))


def forgive(state: State, worker: Worker, now: float) -> None:
    """A worker that was ready long enough clears the failures of its slot."""
    slot = state.slots.get(worker.ref.slot)
    stretch = now - worker.ready_at if worker.ready_at is not None else 0.0
    if slot and slot.streak and worker.seated and stretch >= state.policy.restart.healthy_after:
        state.slots[slot.index] = slots.healthy(slot)


def forget_surplus(state: State, index: int) -> None:
    """A seat that was scaled away is gone with its last worker; its generations are never used again."""
    slot = state.slots.get(index)
    if slot is not None and slot.surplus and not state.in_slot(index):
        state.generations[index] = slot.generation
        del state.slots[index]
        state.names.forget(index)
