"""What happens next to a worker or a slot, and when: read off the deadlines, which are data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mindbot_supervisor.core.calls import stalled_calls
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.health.rules.heartbeat import start_limit
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.lifecycle import end_of_drain
from mindbot_supervisor.core.workers.model import Phase, Worker
from mindbot_supervisor.core.workers.shortage import Shortage
from mindbot_supervisor.core.workers.slots import Slot


@dataclass(frozen=True, slots=True)
class Coming:
    """One thing to come; `at` is None where it waits for an event and not for a time."""

    what: str
    at: float | None = None


def of_worker(worker: Worker, history: History, slot: Slot | None, policy: Policy) -> Iterator[Coming]:
    for each in stalled_calls.stalled(history, policy) if worker.phase is not Phase.KILLING else ():
        if each.kill_at is not None:
            what = f"process {each.call.pid} of call {each.call.room} is killed and the call recovered"
            yield Coming(f"{what}, if it is not heard by then", each.kill_at)
    match worker.phase:
        case Phase.STARTING:
            yield from _starting(worker, history, policy)
        case Phase.READY:
            yield from _ready(worker, history, policy)
        case Phase.DRAINING:
            yield from _draining(worker, history, policy)
        case Phase.KILLING:
            waits = "SIGKILL, sooner once its replacement is ready"
            yield Coming("SIGKILL again, until it is gone" if worker.killed else waits, worker.deadline)
    if slot is not None and slot.streak and worker.seated and worker.ready_at is not None:
        yield Coming("the failures of its slot are forgiven", worker.ready_at + policy.restart.healthy_after)


def of_waiting(shortage: Shortage) -> Iterator[Coming]:
    """A worker for which the host has nothing left."""
    yield Coming(f"started, once the host has what it takes ({shortage.detail})", shortage.retry_at)


def of_slot(slot: Slot) -> Iterator[Coming]:
    """An empty seat."""
    if slot.surplus:
        yield Coming("the slot ends: it was scaled away")
    elif slot.emptied:
        yield Coming(f"it stays empty until `mindbot-supervisor restart {slot.index}`")
    elif slot.retry_at is not None:
        what = f"the parked slot is tried again ({slot.streak} failures)" if slot.parked else "a new worker is started"
        yield Coming(what, slot.retry_at)


def _starting(worker: Worker, history: History, policy: Policy) -> Iterator[Coming]:
    if worker.leaving is not None:
        yield Coming("told to finish as soon as its replacement is ready")
    if worker.pid is None:
        yield Coming("started, as soon as that is possible")
    elif policy.beats_required and history.loop_at is None:
        thread_silence = None if history.thread_at is None else 0.0
        due = history.born + start_limit(thread_silence, policy)
        yield Coming("killed, if it is not heard by then", due)
    elif not policy.beats_required and worker.registered is None:
        yield Coming("counts as ready, if it lives", worker.spawned_at + policy.ready_after)


def _ready(worker: Worker, history: History, policy: Policy) -> Iterator[Coming]:
    if worker.leaving is not None:
        yield Coming("serves until its replacement is ready, then it is told to finish its calls")
    if worker.suspect and history.loop_at is not None:
        yield Coming("hung and killed, if it is not heard by then", history.loop_at + policy.limits.hung_after)


def _draining(worker: Worker, history: History, policy: Policy) -> Iterator[Coming]:
    attended, timeout = history.attended(), policy.pool.gone_room_timeout
    for job, at in history.rooms.since.items():
        yield Coming(f"the process of job {job}, whose room is gone, is ended if it still lives then", at + timeout)
    if attended:
        yield Coming(f"its {attended} calls may go on; killed if one still lasts then", worker.deadline)
        return
    yield Coming("it ends by itself; killed if it is still alive then", deadline(worker, history, policy))


def deadline(worker: Worker, history: History, policy: Policy) -> float | None:
    """When a worker that is leaving is killed at the latest; None for one that is not."""
    if worker.phase is Phase.DRAINING and not history.attended():
        return end_of_drain(worker, history.rooms.closing_until(policy.pool.gone_room_timeout), policy)
    return worker.deadline if worker.phase in (Phase.DRAINING, Phase.KILLING) else None
