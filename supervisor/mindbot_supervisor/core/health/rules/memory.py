"""Rules about memory: PSS of the worker's whole tree above a limit, and private memory that grows towards it."""

from __future__ import annotations

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.health.memory_trend import Leak
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Reason, Urgency, Verdict


def hard(seen: Observation, policy: Policy) -> Verdict | None:
    """Above the hard limit the worker endangers the host and all other calls: it is killed."""
    return _over(seen, policy.memory_hard_mb, Urgency.KILL)


def soft(seen: Observation, policy: Policy) -> Verdict | None:
    """Above the soft limit it is drained behind a replacement."""
    return _over(seen, policy.memory_soft_mb, Urgency.DRAIN)


def _over(seen: Observation, limit: float, urgency: Urgency) -> Verdict | None:
    if seen.sample is None or seen.sample.pss_mb <= limit:
        return None
    return Verdict(Reason.MEMORY, urgency, seen.sample.pss_mb, limit, "MiB of the whole process tree")


EVIDENCE = 3.0
"""It must have grown for certain so many times as much as is left. The first rise of a slow wave looks like a leak;
with this, waves and plateaus that stay clear of the limit by half their height never count (bench/leak_rates.py)."""
MATERIAL = 0.1
"""Of the soft limit, what it must have grown at least: close to the limit everything would look like evidence."""


def leaking(seen: Observation, policy: Policy) -> Verdict | None:
    """At its present slope it will meet the soft limit within `leak_horizon`."""
    found, horizon, soft = seen.leak, policy.limits.leak_horizon, policy.memory_soft_mb
    if found is None or not due(found, horizon, soft):
        return None
    detail = (
        f"seconds until the soft limit at {found.mb_per_hour:.1f} MiB/h, seen over {found.span / 60:.0f} min "
        f"in {found.points} readings; {found.left_mb:.0f} of {soft:.0f} MiB are left"
    )
    return Verdict(Reason.LEAK, Urgency.DRAIN, found.limit_in, horizon, detail)


def due(found: Leak, horizon: float, soft_mb: float) -> bool:
    """It is time to act on this growth."""
    if not horizon or found.limit_in is None or found.limit_in > horizon:
        return False
    return found.grown_mb >= max(EVIDENCE * found.left_mb, MATERIAL * soft_mb)
