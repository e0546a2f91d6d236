"""The rule about CPU spent on nothing."""

from __future__ import annotations

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Reason, Urgency, Verdict


def busy_for_nothing(seen: Observation, policy: Policy) -> Verdict | None:
    """The whole tree stays above `cpu_percent` for `cpu_window` seconds although there is no call."""
    if seen.sample is None or seen.calls or seen.cpu_over_for < policy.limits.cpu_window:
        return None
    limit = policy.limits.cpu_percent
    return Verdict(Reason.CPU, Urgency.DRAIN, seen.sample.cpu_percent, limit, "percent of a core with no call")
