"""Why a worker is restarted: each rule is a pure function of one observation. The next rule goes in beside these."""

from __future__ import annotations

from collections.abc import Callable

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.health.rules import cpu, errors, heartbeat, inactivity, lifetime, memory, registration
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Urgency, Verdict

Rule = Callable[[Observation, Policy], Verdict | None]

RULES: tuple[Rule, ...] = (
    heartbeat.hung,
    heartbeat.never_heard,
    heartbeat.broken,
    memory.hard,
    memory.soft,
    memory.leaking,
    errors.too_many,
    errors.job_storm,
    registration.unregistered,
    inactivity.inactive,
    cpu.busy_for_nothing,
    lifetime.too_old,
    lifetime.too_many_jobs,
)
"""In order of precedence: of two verdicts with the same urgency the first one is the reason given."""

URGENT_RULES: tuple[Rule, ...] = (heartbeat.hung, memory.hard)
"""What still counts for a worker that is already on its way out."""


def judge(seen: Observation, policy: Policy) -> Verdict | None:
    """The most urgent verdict on what was seen, or None for a worker that may stay as it is."""
    rules = URGENT_RULES if seen.lingering else RULES
    worst: Verdict | None = None
    for rule in rules:
        verdict = rule(seen, policy)
        if verdict is not None and (worst is None or verdict.urgency > worst.urgency):
            worst = verdict
            if worst.urgency is Urgency.KILL:
                break
    return worst
