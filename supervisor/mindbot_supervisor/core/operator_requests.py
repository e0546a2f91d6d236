"""What operators ask of the pool: restart, drain, scale, hold and stop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.health import restart_decisions
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.rollout.rolling_update import Rollout
from mindbot_supervisor.core.workers import slot_filling, slots
from mindbot_supervisor.core.workers.lifecycle_events import Judged, Relieved
from mindbot_supervisor.core.workers.model import Change, Reason, Urgency, Verdict


def restart(state: State, indexes: Iterable[int], now: float, reason: Reason, *, hurry: bool) -> None:
    asked = set(indexes)
    refs = {ref for ref, worker in state.workers.items() if ref.slot in asked and worker.seated}
    for index in asked - {ref.slot for ref in refs}:
        state.slots[index] = slots.wanted(state.slots[index])
    if state.rollout is not None and state.rollout.active:
        refs |= set(state.rollout.pending) | state.rollout.stop("")
    state.hurried |= refs if hurry else set()
    state.rollout = Rollout.of(reason, refs)
    state.changes.append(Change(log_events.ROLLOUT_STARTED, now, fields=state.rollout.fields()))
    state.reseat = True


def drain(state: State, indexes: Iterable[int], now: float, by: str) -> None:
    for index in indexes:
        state.slots[index] = slots.emptied(state.slots[index], now, by)
        _empty(state, index, Verdict(Reason.OPERATOR, Urgency.DRAIN), now)


def scale(state: State, workers: int, now: float) -> None:
    kept = [index for index, slot in state.slots.items() if not slot.surplus]
    free = (index for index in range(len(state.slots) + workers) if index not in state.slots)
    for index in islice(free, max(workers - len(kept), 0)):
        state.slots[index] = slots.Slot(index, generation=state.generations.get(index, 0))
    by_calls = sorted(kept, key=lambda index: (sum(state.calls_of(each.ref) for each in state.in_slot(index)), -index))
    for index in by_calls[: max(len(kept) - workers, 0)]:
        state.slots[index] = replace(state.slots[index], surplus=True)
        _empty(state, index, Verdict(Reason.SCALE, Urgency.DRAIN), now)
        slot_filling.forget_surplus(state, index)
    state.reseat = True


def hold(state: State, held: bool, now: float) -> None:
    state.brake.by_operator = held
    restart_decisions.follow_brake(state, {}, now)


def stop(state: State, now: float) -> None:
    state.stopping = True
    verdict = Verdict(Reason.STOP, Urgency.DRAIN)
    for worker in list(state.workers.values()):
        state.step(worker, Relieved(verdict, state.people_on(worker.ref)), now)


def stop_now(state: State, now: float, *, spare_leftovers: bool = False) -> None:
    state.stopping = True
    verdict = Verdict(Reason.STOP, Urgency.KILL)
    for worker in list(state.workers.values()):
        if worker.leftover and spare_leftovers:
            continue
        state.step(worker, Judged(verdict, state.people_on(worker.ref)), now)
    if state.recovery is not None:
        state.make(state.recovery.stop(now))


def _empty(state: State, index: int, verdict: Verdict, now: float) -> None:
    for worker in state.in_slot(index):
        state.step(worker, Relieved(verdict, state.people_on(worker.ref)), now)
