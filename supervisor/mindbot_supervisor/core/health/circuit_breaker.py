"""The circuit breaker: while most of the pool suffers from one outside fault, restarts for soft reasons are held;
and the disruption budget, which admits only so many at one time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Change, Phase, Reason, Ref, Verdict, Worker

SHARED_FAULT = frozenset({Reason.ERRORS, Reason.UNREGISTERED, Reason.STORM})
"""Reasons that, when most workers have them at once, tell of LiveKit or a provider and not of a worker."""


def admit(workers: Iterable[Worker], policy: Policy) -> bool:
    """One more worker may leave: the disruption budget and the bound on draining ones allow it."""
    leaving = draining = 0
    for worker in workers:
        if worker.phase is Phase.DRAINING:
            draining += 1
        elif worker.leaving is not None and worker.phase is not Phase.KILLING:
            leaving += 1
    return leaving < policy.pool.max_unavailable and draining + leaving < policy.max_draining


def shared(reason: Reason, alike: int, serving: int) -> bool:
    """Most of the serving workers have the same fault at the same time: restarting them would help nobody."""
    return reason in SHARED_FAULT and alike >= 2 and alike * 2 > serving


PROBLEM_AFTER = 2.0
"""Seconds without registration after which a worker's own word on the cause is believed."""
OUTAGE_AFTER = 15.0
"""Seconds in which a healthy LiveKit has answered a registration, so that silence is an outage."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why soft restarts are held."""

    reason: Reason
    detail: str


@dataclass(slots=True)
class Brake:
    """Holds or releases; `hold` is None while it is released."""

    hold: Hold | None = None
    by_operator: bool = False
    """`hold` until `release`: no automatic soft restarts, whatever is found."""
    _excused: dict[tuple[Ref, Reason], float] = field(default_factory=dict)
    """Until when a worker is not blamed for a fault that it shared with the others."""

    def blames(self, ref: Ref, reason: Reason, now: float) -> bool:
        """Whether a worker may be restarted for this reason now."""
        return self.hold is None and self._excused.get((ref, reason), now) <= now

    def excuse(self, verdicts: Mapping[Ref, Verdict], now: float, memory: float) -> None:
        """While held: whatever shared fault a worker shows now is not held against it for `memory` seconds more.

        Otherwise the last one to recover, alone by then, would be restarted for what all of them had.
        """
        self._excused = {key: until for key, until in self._excused.items() if until > now}
        if self.hold is not None and not self.by_operator:
            for ref, verdict in verdicts.items():
                if verdict.reason in SHARED_FAULT:
                    self._excused[ref, verdict.reason] = now + memory

    def excused(self, ref: Ref) -> dict[Reason, float]:
        """Until when this worker is not blamed, and for what."""
        return {reason: until for (each, reason), until in self._excused.items() if each == ref}

    def remember(self, ref: Ref, excused: Mapping[Reason, float]) -> None:
        self._excused |= {(ref, reason): until for reason, until in excused.items()}

    def update(self, found: Hold | None, now: float) -> Change | None:
        """Follow what was found, and tell only when it begins, ends, or turns into another reason."""
        if self.by_operator:
            found = Hold(Reason.OPERATOR, "held by the operator")
        before, self.hold = self.hold, found
        if found is not None and (before is None or before.reason is not found.reason):
            fields = {"reason": found.reason.value, "detail": found.detail}
            level = "info" if found.reason is Reason.OPERATOR else "error"
            return Change(log_events.POOL_HELD, now, level=level, fields=fields)
        if found is None and before is not None:
            return Change(log_events.POOL_RELEASED, now, fields={"reason": before.reason.value})
        return None


def find(pairs: Iterable[tuple[Worker, History]], verdicts: Iterable[Verdict], now: float) -> Hold | None:
    """The common fault of the pool, if there is one: nobody is registered, or most have the same soft verdict."""
    live = [(worker, history) for worker, history in pairs if worker.phase in (Phase.STARTING, Phase.READY)]
    outage = _outage([history for _, history in live], now)
    if outage is not None:
        return Hold(Reason.UNREGISTERED, outage)
    for reason, alike in Counter(verdict.reason for verdict in verdicts).items():
        if shared(reason, alike, len(live)):
            return Hold(reason, f"{alike} of {len(live)} workers at the same time")
    return None


def _outage(histories: list[History], now: float) -> str | None:
    beats = [history.beat for history in histories if history.beat is not None]
    if not any(beat.registered is False for beat in beats) or any(beat.registered for beat in beats):
        return None
    for history in histories:
        if history.unregistered_since is None or history.beat is None:
            continue
        waited = now - history.unregistered_since
        if history.beat.problem and waited >= PROBLEM_AFTER:
            return history.beat.problem
        if waited >= OUTAGE_AFTER:
            return "LiveKit does not answer any worker"
    return None
