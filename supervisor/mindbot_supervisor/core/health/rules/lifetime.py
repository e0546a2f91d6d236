"""Rules about workers that have served long enough."""

from __future__ import annotations

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.policy import AGE_SPREAD, Policy
from mindbot_supervisor.core.workers.model import Phase, Reason, Urgency, Verdict


def too_old(seen: Observation, policy: Policy) -> Verdict | None:
    """Older than `max_age`, spread by the worker's own roll so that a pool does not age in step."""
    limit = policy.limits.max_age * (1 + AGE_SPREAD * (2 * seen.roll - 1))
    if not limit or seen.age < limit or seen.phase is not Phase.READY:
        return None
    return Verdict(Reason.LIFETIME, Urgency.DRAIN, seen.age, limit, "seconds of age")


def too_many_jobs(seen: Observation, policy: Policy) -> Verdict | None:
    """It has started `max_jobs` jobs."""
    limit = policy.limits.max_jobs
    if not limit or seen.jobs_started < limit:
        return None
    return Verdict(Reason.LIFETIME, Urgency.DRAIN, seen.jobs_started, limit, "jobs started")
