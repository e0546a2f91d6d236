"""Calls that are moved on purpose: whose they are, why now, and how many seats there are for them elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mindbot_supervisor.core.workers.model import Phase, Reason, Worker

LEAD = 5.0
"""Seconds before its drain deadline at which a worker's last calls are moved: the worker itself cuts them then."""
MOVE_GRACE = 3.0
"""Seconds that a worker over its hard memory limit has for its calls to be moved; then it is killed with them."""


def reason(worker: Worker, now: float, *, hurried: bool) -> Reason | None:
    """Why the calls of this worker must not be waited for, or None while they may end by themselves."""
    if worker.leaving is None:
        return None
    if worker.phase is Phase.KILLING:
        return None if worker.killed or worker.leaving.reason is not Reason.MEMORY else Reason.MEMORY
    if worker.phase is not Phase.DRAINING:
        return None
    if hurried:
        return worker.leaving.reason
    return Reason.DRAIN_TIMEOUT if worker.deadline is not None and worker.deadline - now <= LEAD else None


def seats(others: Iterable[tuple[Worker, int]], max_calls: int) -> int:
    """How many calls these workers can take, each given with the number of its own."""
    return sum(max(max_calls - calls, 0) for worker, calls in others if takes_calls(worker))


def takes_calls(worker: Worker) -> bool:
    return worker.phase is Phase.READY and worker.leaving is None and worker.registered is not False
