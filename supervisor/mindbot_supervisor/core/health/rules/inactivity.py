"""The rule about calls in which nothing happens. A worker without calls is healthy, not inactive."""

from __future__ import annotations

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Reason, Urgency, Verdict


def inactive(seen: Observation, policy: Policy) -> Verdict | None:
    """A live call without activity of either side for more than `inactivity` seconds (the guide: 5 minutes)."""
    limit = policy.limits.inactivity
    quiet = max((call for call in seen.calls), key=lambda call: call.idle, default=None)
    if quiet is None or quiet.idle <= limit:
        return None
    return Verdict(Reason.INACTIVE, Urgency.DRAIN, quiet.idle, limit, f"call in room {quiet.room}")
