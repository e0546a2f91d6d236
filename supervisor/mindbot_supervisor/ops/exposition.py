"""`GET /metrics`: the pool in Prometheus' text format, made from the status and from what `metrics` has counted.

Written out here: the usual library takes more memory than the daemon may, and would know every value twice.
"""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .metrics import SECONDS, Histogram, Metrics
from .view import Json

_PHASES = ("starting", "ready", "draining", "killing", "parked", "backoff")
_OUTCOMES = {"ended": "ended", "lost": "lost", "recovered": "recovered", "migrated": "migrated", "cut": "cut_by_us"}
"""Outcomes of calls, and where the status has them."""
_USAGE = {
    "requests": ("requests_total", "Requests to a provider."),
    "errors": ("errors_total", "Requests to a provider that got no useful answer."),
    "rate_limited": ("rate_limited_total", "Requests that a provider refused for asking too much (429)."),
    "held": ("held_total", "Requests not sent, because the provider had asked to wait for too long."),
    "waits": ("waits_total", "Requests that waited for others to end."),
    "waited": ("waited_seconds_total", "Seconds that requests waited for others to end."),
    "tokens_in": ("input_tokens_total", "Tokens sent to a provider."),
    "tokens_out": ("output_tokens_total", "Tokens received from a provider."),
    "characters": ("characters_total", "Characters spoken by a provider."),
    "audio_seconds": ("audio_seconds_total", "Seconds of sound that a provider has heard."),
}

Labels = Mapping[str, object]
Sample = tuple[Labels, float]


def render(status: Json, metrics: Metrics, host: str) -> str:
    """The whole page. `status` is that of `GET /status`."""
    return "\n".join(_page(status, metrics, host)) + "\n"


def _page(status: Json, metrics: Metrics, host: str) -> Iterator[str]:
    yield from _workers(status["workers"], metrics)
    yield from _calls(status, metrics)
    yield from _usage(status.get("usage", {}))
    yield from _supervisor(status["supervisor"], host)


def _workers(rows: list[Json], metrics: Metrics) -> Iterator[str]:
    phases = Counter(row["phase"] for row in rows)
    yield from _family("workers", "gauge", "Workers by phase.", [({"phase": p}, phases[p]) for p in _PHASES])
    restarts = [({"reason": reason}, count) for reason, count in sorted(metrics.restarts.items())]
    yield from _family("worker_restarts_total", "counter", "Workers that left their place to another.", restarts)
    for name, text, key, unit in (
        ("pss_bytes", "Memory of the worker's processes (PSS), in bytes.", "pss_mb", 1024 * 1024),
        ("cpu_ratio", "CPU of the worker's processes, in cores.", "cpu_percent", 0.01),
    ):
        yield from _family(f"worker_{name}", "gauge", text, _of_slots(rows, key, unit, sum))
    yield from _family(
        "worker_loop_lag_seconds",
        "gauge",
        "How late the worker's event loop ran.",
        _of_slots(rows, "lag_ms", 0.001, max),
    )
    errors = [({"slot": slot, "kind": kind}, count) for (slot, kind), count in sorted(metrics.errors.items())]
    yield from _family("worker_errors_total", "counter", "Errors that the slot's workers have counted.", errors)
    yield from _histogram("worker_ready_seconds", "From the start of a worker until it is ready.", metrics.ready)


def _of_slots(rows: list[Json], key: str, unit: float, join: Any) -> list[Sample]:
    """One value a slot, which may have two workers while one follows the other."""
    slots: dict[int, list[float]] = {}
    for row in rows:
        if row.get(key) is not None:
            slots.setdefault(row["slot"], []).append(row[key])
    return [({"slot": slot}, join(values) * unit) for slot, values in sorted(slots.items())]


def _calls(status: Json, metrics: Metrics) -> Iterator[str]:
    active: Counter[int] = Counter()
    for row in status["workers"]:
        active[row["slot"]] += len(row["calls"])
    live = [({"slot": slot}, count) for slot, count in sorted(active.items())]
    yield from _family("calls_active", "gauge", "Calls that go on now.", live)
    ends = [({"outcome": outcome}, status["calls"][key]) for outcome, key in _OUTCOMES.items()]
    yield from _family("calls_total", "counter", "Calls by what became of them.", ends)
    yield from _histogram(
        "call_recovery_seconds", "From the loss of a call's agent until a new one is there.", metrics.recovery
    )


def _usage(usage: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for key, (name, text) in _USAGE.items():
        used = [({"provider": provider}, counts.get(key, 0)) for provider, counts in sorted(usage.items())]
        yield from _family(f"provider_{name}", "counter", text, used)


def _supervisor(supervisor: Json, host: str) -> Iterator[str]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    about = {"version": supervisor["version"], "mode": supervisor["mode"], "host": host}
    yield from _family("supervisor_info", "gauge", "What runs, and where; always 1.", [(about, 1)])
    for name, kind, text, value in (
        ("uptime_seconds", "gauge", "Since the daemon began.", supervisor["uptime"]),
        ("workers_wanted", "gauge", "Workers that there should be.", supervisor["workers_wanted"]),
        ("held", "gauge", "1 while soft restarts are held.", int(supervisor["held"] is not None)),
        ("cpu_seconds_total", "counter", "CPU time of the daemon itself.", own.ru_utime + own.ru_stime),
        ("resident_memory_bytes", "gauge", "Memory of the daemon itself.", _resident()),
        ("open_fds", "gauge", "Descriptors that the daemon has open.", len(os.listdir("/proc/self/fd"))),  # noqa: PTH208
    ):
        yield from _family(f"supervisor_{name}", kind, text, [({}, value)])


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _histogram(name: str, text: str, values: Histogram) -> Iterator[str]:
    yield from _head(name, "histogram", text)
    below = 0
    for bound, count in zip((*map(str, SECONDS), "+Inf"), values.buckets, strict=True):
        below += count
        yield _line(f"{name}_bucket", {"le": bound}, below)
    yield _line(f"{name}_sum", {}, values.total)
    yield _line(f"{name}_count", {}, below)


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield from _head(name, kind, text)
    for labels, value in samples:
        yield _line(name, labels, value)


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP mindbot_{name} {text}"
    yield f"# TYPE mindbot_{name} {kind}"


def _line(name: str, labels: Labels, value: float) -> str:
    told = ",".join(f'{key}="{_escaped(each)}"' for key, each in labels.items())
    return f"mindbot_{name}{{{told}}} {value:.15g}" if told else f"mindbot_{name} {value:.15g}"


def _escaped(value: object) -> str:
    return str(value).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
