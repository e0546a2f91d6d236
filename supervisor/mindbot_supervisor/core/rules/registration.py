"""The rule about workers that LiveKit does not know."""

from __future__ import annotations

from ..history import Observation
from ..model import Reason, Urgency, Verdict
from ..policy import Policy


def unregistered(seen: Observation, policy: Policy) -> Verdict | None:
    """Not registered for `register_timeout` while LiveKit answers a sibling: then the fault is the worker's."""
    limit = policy.limits.register_timeout
    if seen.unregistered_for < limit:
        return None
    return Verdict(Reason.UNREGISTERED, Urgency.DRAIN, seen.unregistered_for, limit, "LiveKit answers its siblings")
