"""The figures of a heartbeat and of a sample as the status and the flight record show them; None is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindbot_supervisor.core.model import Sample
from mindbot_worker.wire import Beat

Json = dict[str, Any]


def of_beat(beat: Beat | None) -> Json:
    return {
        "registered": beat.registered if beat else None,
        "problem": beat.problem or None if beat else None,
        "idle": beat.idle if beat else None,
        "lag_ms": beat.lag_ms if beat else None,
        "load": beat.load if beat else None,
    }


def of_sample(sample: Sample | None) -> Json:
    return {
        "pss_mb": round(sample.pss_mb, 1) if sample else None,
        "rss_mb": round(sample.rss_mb, 1) if sample else None,
        "cpu_percent": round(sample.cpu_percent, 1) if sample else None,
        "processes": sample.processes if sample else None,
    }


def of_launcher(described: Mapping[str, object], samples: Mapping[int, Sample]) -> Json:
    """The launcher as it describes itself, and what each process takes that it names."""
    return {
        name: {**each, **_of_helper(samples.get(each["pid"]))} if isinstance(each, dict) else each
        for name, each in described.items()
    }


def _of_helper(sample: Sample | None) -> Json:
    figures = of_sample(sample)
    return {"memory_mb": figures["pss_mb"], "cpu_percent": figures["cpu_percent"]}
