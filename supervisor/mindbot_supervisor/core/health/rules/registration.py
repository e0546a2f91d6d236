"""The rule about workers that LiveKit does not know."""

from __future__ import annotations

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Reason, Urgency, Verdict


def unregistered(seen: Observation, policy: Policy) -> Verdict | None:
    """Not registered for `register_timeout` while LiveKit answers a sibling: then the fault is the worker's."""
    limit = policy.limits.register_timeout
    if seen.unregistered_for < limit:
        return None
    return Verdict(Reason.UNREGISTERED, Urgency.DRAIN, seen.unregistered_for, limit, "LiveKit answers its siblings")
