"""Rules about errors that a worker counted itself: in its calls, and in starting its job processes."""

from __future__ import annotations

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Reason, Urgency, Verdict

STORM_MAX = 5
"""Job processes that failed to start within a minute. LiveKit itself starts them again at once, for ever: thirty of
them kept two cores busy for minutes (measured). The worker slows it down to one in ten seconds, so that more than this
in a minute is a storm that does not end."""


def too_many(seen: Observation, policy: Policy) -> Verdict | None:
    """More than `max_errors` within `error_window` (the guide: more than 10). What a provider did is told, and no more:
    a new worker would ask the same provider.
    """
    limit = policy.limits.max_errors
    if seen.errors <= limit:
        return None
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(seen.errors_by.items()))
    if seen.errors - seen.provider_errors > limit:
        return Verdict(Reason.ERRORS, Urgency.DRAIN, seen.errors, limit, kinds)
    return Verdict(Reason.ERRORS, Urgency.WARN, seen.errors, limit, f"{kinds}; {seen.provider_errors} of a provider")


def job_storm(seen: Observation, policy: Policy) -> Verdict | None:
    """Job processes die as they start, again and again."""
    if seen.jobs_storm <= STORM_MAX:
        return None
    return Verdict(Reason.STORM, Urgency.DRAIN, seen.jobs_storm, STORM_MAX, "job processes that failed to start")
