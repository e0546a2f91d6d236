"""What came of a slow leak, whether it is as it should be, and how that is told: for slow_leak.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Calls:
    """What became of the callers."""

    served: int = 0
    cut: list[str] = field(default_factory=list)
    """Rooms that an agent left while the caller was there."""
    unanswered: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.served} calls served, {len(self.cut)} cut, {len(self.unanswered)} unanswered"


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one run. Memory is MiB."""

    drain: dict[str, Any] | None
    """The record that tells of it."""
    at: float
    """Seconds since the worker was ready."""
    most_mb: float
    """Until then."""
    soft_mb: float
    lead: float | None
    """Seconds by which its replacement was ready before."""
    exit_verdict: str
    calls: Calls
    counts: dict[str, int]
    """The calls as the daemon counts them."""


def faults(found: Found) -> list[str]:
    """What is not as it should be."""
    if found.drain is None:
        return ["it was never drained"]
    wrong = []
    if found.drain["reason"] != "leak":
        wrong.append(f"it was drained for {found.drain['reason']}, not for its leak")
    if found.most_mb >= found.soft_mb:
        wrong.append("it had met its limit by then")
    if not found.drain["calls"]:
        wrong.append("it had no call by then, so that none could have been cut")
    if found.lead is None or found.lead < 0:
        wrong.append("its replacement was not ready before")
    if found.exit_verdict != "asked":
        wrong.append(f"it ended otherwise than asked: {found.exit_verdict}")
    if alone := found.calls.cut + found.calls.unanswered:
        wrong.append(f"callers without an agent: {', '.join(alone)}")
    if lost := sum(found.counts[name] for name in ("lost", "recovered", "migrated", "cut_by_us")):
        wrong.append(f"the daemon counts {lost} calls as lost, recovered, migrated or cut")
    return wrong


def told(found: Found) -> list[str]:
    """The run in words."""
    calls = f"{found.calls}; as the daemon counts: {found.counts}"
    if found.drain is None:
        return [calls]
    ready_at = "never" if found.lead is None else f"{found.lead:.2f} s before"
    return [
        f"drained after {found.at / 60:.1f} min for {found.drain['reason']}; "
        f"at most {found.most_mb:.0f} of {found.soft_mb:.0f} MiB until then",
        f"the verdict: {found.drain.get('value', 0):.0f} {found.drain.get('detail')}",
        f"its replacement was ready {ready_at}; it had {found.drain['calls']} calls; it ended: {found.exit_verdict}",
        calls,
    ]


def progress(row: dict[str, Any], calls: Calls, soft_mb: float, most: float, seconds: float) -> str:
    leak = row.get("leak") or {}
    said = f"{leak['mb_per_hour']} MiB/h, limit in {leak['limit_in']} s" if leak else "no growth found"
    return (
        f"minute {seconds / 60:.0f}: {row.get('pss_mb')} MiB with {len(row.get('calls', []))} calls, "
        f"at most {most:.0f} of {soft_mb:.0f} so far; {said}; {calls}"
    )
