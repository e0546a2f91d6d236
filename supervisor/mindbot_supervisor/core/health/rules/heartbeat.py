"""Rules about a worker that is not heard: hung, never heard at all, or not understood."""

from __future__ import annotations

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Phase, Reason, Urgency, Verdict

LOOP_BLOCKED = "its event loop is blocked; its heartbeat thread still runs"
STOPPED = "the whole process is silent"
STILL_STARTING = 3
"""Import of LiveKit and its plugins takes 4 s, and took over 60 s at a load of 20 on 2 cores (measured)."""


def hung(seen: Observation, policy: Policy) -> Verdict | None:
    """The worker's own loop was heard before and is silent for `hung_after` seconds."""
    limit = policy.limits.hung_after
    if not seen.beaten or seen.silence < limit:
        return None
    return Verdict(Reason.HUNG, Urgency.KILL, seen.silence, limit, how(seen, policy))


def suspect(seen: Observation, policy: Policy) -> Verdict | None:
    """Not heard for `suspect_after` seconds: told, and left alone until it is hung."""
    limit = policy.limits.suspect_after
    if not seen.beaten or seen.silence < limit:
        return None
    return Verdict(Reason.HUNG, Urgency.WARN, seen.silence, limit, how(seen, policy))


def how(seen: Observation, policy: Policy) -> str:
    """Tell a blocked loop from a stopped process by the beats of the worker's thread."""
    if seen.thread_silence is None:
        return ""
    return LOOP_BLOCKED if seen.thread_silence < policy.limits.suspect_after else STOPPED


def never_heard(seen: Observation, policy: Policy) -> Verdict | None:
    """A worker whose beats are required sent none for `start_timeout` seconds after its start."""
    limit = start_limit(seen.thread_silence, policy)
    if seen.beaten or not policy.beats_required or seen.phase is not Phase.STARTING or seen.silence < limit:
        return None
    return Verdict(Reason.START, Urgency.KILL, seen.silence, limit, "no heartbeat since its start")


def start_limit(thread_silence: float | None, policy: Policy) -> float:
    """One whose thread beats is importing, on a host that is slow: it has STILL_STARTING times as long."""
    alive = thread_silence is not None and thread_silence < policy.limits.hung_after
    return policy.pool.start_timeout * (STILL_STARTING if alive else 1)


def broken(seen: Observation, policy: Policy) -> Verdict | None:
    """Too many unreadable heartbeats in a row. Its calls are unknown, so it is drained, not killed."""
    limit = policy.limits.beats_rejected_max
    if seen.rejected < limit:
        return None
    return Verdict(Reason.BROKEN, Urgency.DRAIN, seen.rejected, limit, "unreadable heartbeats in a row")
