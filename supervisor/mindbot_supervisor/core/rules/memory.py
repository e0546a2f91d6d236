"""Rules about memory: PSS of the worker's whole tree (RSS counts shared pages once for every process)."""

from __future__ import annotations

from ..history import Observation
from ..model import Reason, Urgency, Verdict
from ..policy import Policy


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
