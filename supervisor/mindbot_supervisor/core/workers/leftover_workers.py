"""Workers of a dead daemon: they finish their calls beside the new ones, and their names are never used again."""

from __future__ import annotations

from dataclasses import replace

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Terminate
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers.model import Phase, Reason, Ref, Urgency, Verdict, Worker
from mindbot_supervisor.core.workers.slots import Slot


def adopt(state: State, ref: Ref, pid: int, now: float, *, termed: bool) -> None:
    verdict = Verdict(Reason.LEFTOVER, Urgency.DRAIN, detail="started by a daemon that is gone")
    deadline = now + state.policy.pool.drain_timeout
    worker = Worker(ref, now, pid=pid, phase=Phase.DRAINING, leaving=verdict, leftover=True, deadline=deadline)
    worker = replace(worker, left_at=now)
    state.workers[ref], state.histories[ref] = replace(worker, termed=True), History(born=now)
    remember(state, ref)
    state.tell(log_events.WORKER_DRAINING, now, worker, reason=verdict.reason.value, detail=verdict.detail)
    if not termed:
        state.actions.append(Terminate(ref))


def remember(state: State, ref: Ref) -> None:
    slot = state.slots.get(ref.slot)
    if slot is None:
        state.generations[ref.slot] = max(state.generations.get(ref.slot, 0), ref.generation)
        if ref in state.workers:
            state.slots[ref.slot] = Slot(ref.slot, state.generations[ref.slot], surplus=True)
    else:
        state.slots[ref.slot] = replace(slot, generation=max(slot.generation, ref.generation))
