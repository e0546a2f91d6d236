"""A rolling change in the pool: carried on as far as the disruption budget allows, and stopped by a failure."""

from __future__ import annotations

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.health.circuit_breaker import admit
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers.lifecycle_events import Judged, Kept
from mindbot_supervisor.core.workers.model import Change, Phase, Urgency, Verdict, Worker


def carry_on(state: State, now: float) -> None:
    """Count whom it has replaced, and let the next ones leave."""
    rollout = state.rollout
    if rollout is None or not rollout.active or state.stopping:
        return
    young = (Phase.STARTING, Phase.READY)
    waiting = {ref for ref, worker in state.workers.items() if worker.phase in young and worker.leaving is not None}
    if rollout.settle(waiting):
        state.changes.append(Change(log_events.ROLLOUT_PROGRESS, now, fields=rollout.fields()))
    rollout.skip({ref for ref, worker in state.workers.items() if worker.seated})
    while rollout.pending and admit(state.workers.values(), state.policy):
        worker = state.workers[rollout.begin()]
        state.step(worker, Judged(Verdict(rollout.reason, Urgency.DRAIN), state.people_on(worker.ref)), now)
    if not rollout.active:
        state.changes.append(Change(log_events.ROLLOUT_FINISHED, now, fields=rollout.fields()))


def stop(state: State, failed: Worker, now: float) -> None:
    """A replacement that never became ready ends the rollout: broken code must not empty the pool."""
    rollout = state.rollout
    if rollout is None or failed.ready_at is not None:
        return
    if not any(ref.slot == failed.ref.slot and ref < failed.ref for ref in rollout.under_way):
        return
    for ref in rollout.stop(f"the replacement {failed.ref} did not become ready; the others are kept as they are"):
        under_way = any(worker.seated for worker in state.in_slot(ref.slot))
        if ref in state.workers and not under_way:
            state.step(state.workers[ref], Kept(), now)
    state.changes.append(Change(log_events.ROLLOUT_STOPPED, now, level="error", fields=rollout.fields()))
