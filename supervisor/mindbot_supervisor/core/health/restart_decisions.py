"""Decides at each tick which workers are restarted: found by the rules, held by the circuit breaker, and acted on
within the disruption budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.calls import empty_calls, tracking
from mindbot_supervisor.core.health import circuit_breaker
from mindbot_supervisor.core.health.circuit_breaker import admit
from mindbot_supervisor.core.health.rules import judge
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers import slot_filling
from mindbot_supervisor.core.workers.lifecycle_events import Judged, Passed
from mindbot_supervisor.core.workers.model import Phase, Reason, Ref, Urgency, Verdict, Worker


def act(state: State, now: float) -> None:
    """Check every rule, and do what follows."""
    found = _judge_all(state, now)
    follow_brake(state, found, now)
    for ref, verdict in found.items():
        _act_on(state, ref, verdict, now)


def _judge_all(state: State, now: float) -> dict[Ref, Verdict]:
    seen = state.observe(now)
    excused = state.pressure.excused(seen, state.policy, now)
    found: dict[Ref, Verdict] = {}
    for ref, each in seen.items():
        if state.workers[ref].pid is None:
            continue  # it is still being started, and cannot be late for anything
        verdict = judge(replace(each, silence=0.0) if ref in excused else each, state.policy)
        if verdict is not None:
            found[ref] = verdict
    relief = state.pressure.relief(state.workers, seen, now)
    if relief is not None:
        found.setdefault(*relief)
    return found


def follow_brake(state: State, found: Mapping[Ref, Verdict], now: float) -> None:
    """Hold soft restarts, or release them, and tell when that changes."""
    pairs = ((worker, state.histories[ref]) for ref, worker in state.workers.items())
    hold = None if state.stopping else circuit_breaker.find(pairs, found.values(), now)
    if hold is None and state.pressure.starving is not None:
        hold = circuit_breaker.Hold(Reason.HOST_STARVED, state.pressure.starving)
    change = state.brake.update(hold, now)
    limits = state.policy.limits
    state.brake.excuse(found, now, max(limits.error_window, limits.register_timeout))
    if change is not None:
        state.changes.append(change)


def _act_on(state: State, ref: Ref, verdict: Verdict, now: float) -> None:
    worker = state.workers[ref]
    if verdict.urgency is Urgency.KILL:
        if worker.phase is not Phase.KILLING:
            state.step(worker, Judged(verdict, state.people_on(ref), tracking.grace(state, ref, verdict)), now)
            slot_filling.fail(state, worker, now, verdict.reason)
        return
    _warn_once(state, worker, verdict, now)
    if verdict.urgency is Urgency.WARN:
        return
    if not worker.seated or state.stopping or not state.brake.blames(ref, verdict.reason, now):
        return
    if admit(state.workers.values(), state.policy):
        state.step(worker, Judged(verdict, state.people_on(ref)), now)
        slot_filling.fail(state, worker, now, verdict.reason)


def _warn_once(state: State, worker: Worker, verdict: Verdict, now: float) -> None:
    key = (worker.ref, verdict.reason)
    if key not in state.warned and worker.phase in (Phase.STARTING, Phase.READY):
        state.warned.add(key)
        fields = {"reason": verdict.reason.value, **verdict.fields()}
        state.tell(log_events.LIMIT_WARNED, now, worker, "warning", **fields)


def pass_time(state: State, worker: Worker, now: float) -> None:
    """What is due for a worker by the clock alone: its phase's deadlines, its calls' move, its slot's pardon."""
    history = state.histories[worker.ref]
    silence = now - history.loop_at if history.loop_at is not None else 0.0
    if history.beat is None and not state.policy.beats_required:
        silence = 0.0
    relieved = worker.phase is Phase.KILLING and state.relieved(worker)
    empty_calls.act(state, worker, now)
    closing_until = history.rooms.closing_until(state.policy.pool.gone_room_timeout)
    state.step(worker, Passed(silence, relieved, history.attended(), closing_until), now)
    worker = state.workers[worker.ref]
    tracking.move(state, worker, now)
    slot_filling.forgive(state, worker, now)
