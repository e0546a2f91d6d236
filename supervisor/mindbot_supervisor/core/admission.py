"""May a soft reason be acted on now? Hard ones never ask."""

from __future__ import annotations

from collections.abc import Iterable

from .model import Phase, Reason, Worker
from .policy import Policy

SHARED_FAULT = frozenset({Reason.ERRORS, Reason.UNREGISTERED, Reason.STORM})
"""Reasons that, when most workers have them at once, tell of LiveKit or a provider and not of a worker."""


def admit(workers: Iterable[Worker], policy: Policy) -> bool:
    """One more worker may leave: the disruption budget and the bound on draining ones allow it."""
    leaving = draining = 0
    for worker in workers:
        if worker.phase is Phase.DRAINING:
            draining += 1
        elif worker.leaving is not None and worker.phase is not Phase.KILLING:
            leaving += 1
    return leaving < policy.pool.max_unavailable and draining + leaving < policy.max_draining


def shared(reason: Reason, alike: int, serving: int) -> bool:
    """Most of the serving workers have the same fault at the same time: restarting them would help nobody."""
    return reason in SHARED_FAULT and alike >= 2 and alike * 2 > serving
