"""How far each rule is from speaking: its number beside its limit, for whoever asks why a worker is as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.health.rules.errors import STORM_MAX
from mindbot_supervisor.core.health.rules.heartbeat import start_limit
from mindbot_supervisor.core.policy import AGE_SPREAD, Policy
from mindbot_supervisor.core.workers.model import Phase, Reason, Urgency


@dataclass(frozen=True, slots=True)
class Margin:
    """One rule's number and where it speaks, in words: `unit` says of what."""

    reason: Reason
    urgency: Urgency
    value: float
    limit: float
    unit: str

    @property
    def share(self) -> float:
        """1 is at the limit."""
        return self.value / self.limit if self.limit else 0.0


def margins(seen: Observation, policy: Policy) -> tuple[Margin, ...]:
    """Of every rule that could speak on such a worker, the nearest to its limit first."""
    return tuple(sorted(_all(seen, policy), key=lambda each: -each.share))


def _all(seen: Observation, policy: Policy) -> Iterator[Margin]:
    limits = policy.limits
    if seen.beaten:
        yield Margin(Reason.HUNG, Urgency.KILL, seen.silence, limits.hung_after, "seconds without a heartbeat")
        if seen.job_silence:
            unit = "seconds without a beat of a call's process"
            yield Margin(Reason.HUNG, Urgency.KILL, seen.job_silence, limits.hung_after, unit)
    elif policy.beats_required and seen.phase is Phase.STARTING:
        limit = start_limit(seen.thread_silence, policy)
        yield Margin(Reason.START, Urgency.KILL, seen.silence, limit, "seconds without a word")
    if seen.sample is not None:
        pss = seen.sample.pss_mb
        yield Margin(Reason.MEMORY, Urgency.KILL, pss, policy.memory_hard_mb, "MiB of its process tree")
        if not seen.lingering:
            yield Margin(Reason.MEMORY, Urgency.DRAIN, pss, policy.memory_soft_mb, "MiB of its process tree")
    if not seen.lingering:
        yield from _soft(seen, policy)


def _soft(seen: Observation, policy: Policy) -> Iterator[Margin]:
    limits, soft = policy.limits, Urgency.DRAIN
    yield Margin(Reason.BROKEN, soft, seen.rejected, limits.beats_rejected_max, "unreadable heartbeats in a row")
    own = seen.errors - seen.provider_errors
    yield Margin(Reason.ERRORS, soft, own, limits.max_errors, f"errors of its own in {limits.error_window:g} s")
    yield Margin(Reason.STORM, soft, seen.jobs_storm, STORM_MAX, "job processes that failed to start")
    unregistered = seen.unregistered_for
    yield Margin(Reason.UNREGISTERED, soft, unregistered, limits.register_timeout, "seconds unregistered")
    if seen.calls:
        idle = max(call.idle for call in seen.calls)
        yield Margin(Reason.INACTIVE, soft, idle, limits.inactivity, "seconds of silence in a call")
    elif seen.sample is not None and limits.cpu_percent:
        unit = f"seconds above {limits.cpu_percent:g} % of a core without a call"
        yield Margin(Reason.CPU, soft, seen.cpu_over_for, limits.cpu_window, unit)
    if limits.max_age and seen.phase is Phase.READY:
        limit = limits.max_age * (1 + AGE_SPREAD * (2 * seen.roll - 1))
        yield Margin(Reason.LIFETIME, soft, seen.age, limit, "seconds of age")
    if limits.max_jobs:
        yield Margin(Reason.LIFETIME, soft, seen.jobs_started, limits.max_jobs, "jobs started")
