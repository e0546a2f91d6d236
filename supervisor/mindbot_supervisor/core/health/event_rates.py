"""Bounds how often one worker makes us tell of the same thing: beyond that it is counted, and the count is told.

A worker that invents calls, or a registration that comes and goes with each heartbeat, would otherwise fill the log,
the flight record and whoever listens. What is counted in `calls` and in the metrics' totals stays exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Ref

REPORT_EVERY = 60.0
"""Seconds between two reports of what was left out for one worker; the first comes with the next tick."""

ONCE = frozenset(
    {
        log_events.WORKER_SPAWNED,
        log_events.WORKER_DRAINING,
        log_events.WORKER_KILLING,
        log_events.WORKER_EXITED,
        log_events.EVENT_DROPPED,
    }
)
"""A worker has each of them once at most, or its number is bounded here: always told."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and then one every `1 / refill` seconds."""

    burst: float
    refill: float


CALLS = Rate(200, 2.0)
"""For each event about a worker's calls: a worker takes ten calls at a time, unless told otherwise."""
REJECTED = Rate(10, 0.1)
"""For lines that are no heartbeats."""
OTHERS = Rate(20, 0.2)


@dataclass(slots=True)
class _Allowance:
    """How many may be told now, and how many were not since the last report."""

    left: float
    at: float
    dropped: int = 0


@dataclass(slots=True)
class EventRates:
    """By worker and event. What nobody has used for a while is forgotten."""

    _allowances: dict[tuple[Ref, str], _Allowance] = field(default_factory=dict)
    _reported: dict[Ref, float] = field(default_factory=dict)

    def admit(self, changes: Iterable[Change]) -> tuple[Change, ...]:
        """Those that are to be told."""
        return tuple(change for change in changes if self._admits(change))

    def _admits(self, change: Change) -> bool:
        if change.worker is None or change.event in ONCE:
            return True
        key, rate = (change.worker, change.event), rate_of(change.event)
        allowance = self._allowances.get(key)
        if allowance is None:
            allowance = self._allowances[key] = _Allowance(rate.burst, change.at)
        allowance.left = min(allowance.left + max(change.at - allowance.at, 0.0) * rate.refill, rate.burst)
        allowance.at = max(change.at, allowance.at)
        if allowance.left < 1.0:
            allowance.dropped += 1
            return False
        allowance.left -= 1.0
        return True

    def report(self, now: float) -> list[Change]:
        """What was left out for each worker, at most once in REPORT_EVERY; to be called at every tick."""
        if not self._allowances:
            return []
        found: dict[Ref, dict[str, int]] = {}
        for (ref, event), allowance in list(self._allowances.items()):
            if allowance.dropped and now - self._reported.get(ref, now - REPORT_EVERY) >= REPORT_EVERY:
                found.setdefault(ref, {})[event] = allowance.dropped
                allowance.dropped = 0
            elif not allowance.dropped and (now - allowance.at) * rate_of(event).refill >= rate_of(event).burst:
                del self._allowances[ref, event]
        self._reported = {ref: at for ref, at in self._reported.items() if now - at < REPORT_EVERY}
        return [self._told(ref, counts, now) for ref, counts in found.items()]

    def _told(self, ref: Ref, counts: dict[str, int], now: float) -> Change:
        self._reported[ref] = now
        detail = "too many of the same kind from one worker: these were counted and not told one by one"
        fields = {"value": sum(counts.values()), "counts": counts, "detail": detail}
        return Change(log_events.EVENT_DROPPED, now, ref, level="warning", fields=fields)


def rate_of(event: str) -> Rate:
    if event.startswith("call."):
        return CALLS
    return REJECTED if event == log_events.BEAT_REJECTED else OTHERS
