"""Encodes and decodes reports of a job process about its call; each is complete, so a lost one does no harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mindbot_config.output import strict_json
from mindbot_worker.protocol import heartbeat

SIZE_MAX = 8192

STARTING, ENDING = "starting", "ending"
"""States of a call before its session has one, and after the session closed; between them the agent's own."""


@dataclass(frozen=True, slots=True)
class Report:
    """The state of one call; counters only grow. `active_at` is the host's monotonic clock."""

    job: str
    seq: int
    state: str = STARTING
    active_at: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)
    fatal: int = 0
    of_providers: int = 0
    """Of the errors: what a provider did."""
    failed: bool = False
    """The agent's entrypoint raised; LiveKit itself reports such a call as a success."""
    usage: heartbeat.Usage = field(default_factory=dict)
    """What the call has used of each provider."""
    summary: heartbeat.Summary = field(default_factory=dict)
    """What the call has been like so far."""
    present: bool | None = None
    """Whether anybody but agents is in the room; None: not known, or not yet."""
    gone_at: float | None = None
    """When the room was gone for good, or the agent was no longer in it; None while it is."""


def encode(report: Report) -> bytes:
    return strict_json.dump_bytes(asdict(report), compact=True)


def decode(datagram: bytes) -> Report | None:
    """The report in a datagram; None for anything else: every program of our user can write to the socket."""
    try:
        fields: dict[str, Any] = json.loads(datagram)
        report = Report(**fields)
    except (ValueError, TypeError, RecursionError):
        return None
    return report if _is_sound(report) else None


def _is_sound(report: Report) -> bool:
    texts = isinstance(report.job, str) and isinstance(report.state, str) and len(report.state) <= 64
    numbers = all(map(_is_count, (report.seq, report.fatal, report.of_providers))) and _is_time(report.active_at)
    errors = isinstance(report.errors, dict) and all(
        isinstance(kind, str) and len(kind) <= 64 and _is_count(count) for kind, count in report.errors.items()
    )
    rest = isinstance(report.failed, bool) and _is_usage(report.usage) and heartbeat.is_summary(report.summary)
    present = report.present is None or isinstance(report.present, bool)
    room = present and (report.gone_at is None or _is_time(report.gone_at))
    return texts and numbers and errors and rest and room


def _is_usage(usage: object) -> bool:
    return isinstance(usage, dict) and all(
        isinstance(provider, str)
        and len(provider) <= 64
        and isinstance(counts, dict)
        and all(name in heartbeat.USAGE and _is_time(amount) for name, amount in counts.items())
        for provider, counts in usage.items()
    )


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
