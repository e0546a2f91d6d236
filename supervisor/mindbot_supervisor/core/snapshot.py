"""The pool as values: what one daemon hands to the next so that no history and no deadline is lost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from mindbot_worker.wire import Beat

from .calls import CallCounts
from .history import ERRORS_KEPT, History
from .model import Reason, Worker
from .pool import Pool
from .rollout import Rollout
from .slots import Slot

VERSION = 1
"""Of this shape: a daemon reads only its own."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """One worker with its history. Times are of the machine's monotonic clock, which goes on over an exec."""

    worker: Worker
    born: float
    beat: Beat | None
    loop_at: float | None
    thread_at: float | None
    unregistered_since: float | None
    errors_seen: int
    by_seen: dict[str, int]
    errors: list[tuple[float, int, dict[str, int]]]


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
    version: int = VERSION


def take(pool: Pool) -> Snapshot:
    return Snapshot(
        workers=[_remembered(worker, pool.histories[ref]) for ref, worker in pool.workers.items()],
        slots=list(pool.slots.values()),
        generations=dict(pool.generations),
        counts=pool.counts,
        restarts=dict(pool.restarts),
        rollout=pool.rollout,
        held=pool.brake.by_operator,
    )


def put(pool: Pool, snapshot: Snapshot) -> None:
    """Make a fresh pool go on where the one of the snapshot was."""
    pool.slots = {slot.index: slot for slot in snapshot.slots}
    pool.generations = dict(snapshot.generations)
    pool.counts, pool.restarts = snapshot.counts, dict(snapshot.restarts)
    pool.rollout, pool.brake.by_operator = snapshot.rollout, snapshot.held
    for each in snapshot.workers:
        pool.workers[each.worker.ref] = each.worker
        pool.histories[each.worker.ref] = _history(each)
    pool.resumed()


def _remembered(worker: Worker, history: History) -> Remembered:
    return Remembered(
        worker=worker,
        born=history.born,
        beat=history.beat,
        loop_at=history.loop_at,
        thread_at=history.thread_at,
        unregistered_since=history.unregistered_since,
        errors_seen=history.errors_seen,
        by_seen=history.by_seen,
        errors=[(at, count, dict(kinds)) for at, count, kinds in history.errors],
    )


def _history(each: Remembered) -> History:
    return History(
        born=each.born,
        beat=each.beat,
        loop_at=each.loop_at,
        thread_at=each.thread_at,
        unregistered_since=each.unregistered_since,
        errors_seen=each.errors_seen,
        by_seen=dict(each.by_seen),
        errors=deque(each.errors, maxlen=ERRORS_KEPT),
    )
