"""Why a worker is restarted: each rule is a pure function of one observation. The next rule goes in beside these."""

from __future__ import annotations

from collections.abc import Callable

from ..history import Observation
from ..model import Urgency, Verdict
from ..policy import Policy
from . import activity, cpu, errors, leak, lifetime, memory, registration, silence

Rule = Callable[[Observation, Policy], Verdict | None]

RULES: tuple[Rule, ...] = (
    silence.hung,
    silence.never_heard,
    silence.broken,
    memory.hard,
    memory.soft,
    leak.leaking,
    errors.too_many,
    errors.job_storm,
    registration.unregistered,
    activity.inactive,
    cpu.busy_for_nothing,
    lifetime.too_old,
    lifetime.too_many_jobs,
)
"""In order of precedence: of two verdicts with the same urgency the first one is the reason given."""

URGENT_RULES: tuple[Rule, ...] = (silence.hung, memory.hard)
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
