"""The pool as values: what one daemon hands to the next so that no history and no deadline is lost.

A history, an open recovery and a slot go over whole, by their own fields: whatever is added to them goes along.
Times are of the machine's monotonic clock, which goes on over an exec.
"""

from __future__ import annotations

from dataclasses import dataclass

from mindbot_supervisor.core.calls.call_outcomes import CallCounts
from mindbot_supervisor.core.calls.recovery_state import Open
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.rollout.rolling_update import Rollout
from mindbot_supervisor.core.workers.model import Reason, Worker
from mindbot_supervisor.core.workers.slots import Slot

VERSION = 2
"""Of what is handed over: a daemon reads only its own."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """One worker, and what is known of it."""

    worker: Worker
    history: History
    hurried: bool
    least_mb: float | None
    excused: dict[Reason, float]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of the pool that cannot be found out anew."""

    workers: list[Remembered]
    slots: list[Slot]
    generations: dict[int, int]
    counts: CallCounts
    restarts: dict[Reason, int]
    rollout: Rollout | None
    held: bool
    recovery: Open | None
    last_tick: float | None = None
    """When its workers were last looked at."""


def take(pool: Pool) -> Snapshot:
    return Snapshot(
        workers=[_remembered(pool, worker) for worker in pool.workers.values() if worker.pid is not None],
        slots=list(pool.slots.values()),
        generations=dict(pool.generations),
        counts=pool.counts,
        restarts=dict(pool.restarts),
        rollout=pool.rollout,
        held=pool.brake.by_operator,
        recovery=pool.recovery.open if pool.recovery is not None else None,
        last_tick=pool.last_tick,
    )


def put(pool: Pool, snapshot: Snapshot, now: float) -> None:
    """Make a fresh pool go on where the one of the snapshot was. What follows comes with its next effects."""
    pool.slots = {slot.index: slot for slot in snapshot.slots}
    pool.generations = dict(snapshot.generations)
    pool.counts, pool.restarts = snapshot.counts, dict(snapshot.restarts)
    pool.rollout, pool.brake.by_operator = snapshot.rollout, snapshot.held
    for each in snapshot.workers:
        _put(pool, each)
    if snapshot.last_tick is not None:
        pool.last_tick, pool.upgraded = snapshot.last_tick, True
    pool.resumed(snapshot.recovery, now)


def _remembered(pool: Pool, worker: Worker) -> Remembered:
    return Remembered(
        worker=worker,
        history=pool.histories[worker.ref],
        hurried=worker.ref in pool.hurried,
        least_mb=pool.pressure.least(worker.ref),
        excused=pool.brake.excused(worker.ref),
    )


def _put(pool: Pool, each: Remembered) -> None:
    ref = each.worker.ref
    pool.workers[ref], pool.histories[ref] = each.worker, each.history
    if each.hurried:
        pool.hurried.add(ref)
    if each.least_mb is not None:
        pool.pressure.remember(ref, each.least_mb)
    pool.brake.remember(ref, each.excused)
