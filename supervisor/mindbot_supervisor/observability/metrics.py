"""`GET /metrics`: what is counted from changes and heartbeats, and the pool's status, in Prometheus' text format."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import psutil
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.workers.model import Change, Reason, Ref
from mindbot_supervisor.observability.status import Json
from mindbot_worker.protocol.heartbeat import Beat

SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
"""Upper bounds: from a call's recovery, which takes some 0.3 s, to a worker on a busy host that imports everything."""

KINDS = frozenset(
    {"llm", "stt", "tts", "vad", "realtime_model", "connection", "disconnects", "voice", "agent", "job", "call"}
)
"""Kinds of errors that our own workers count."""
PROVIDERS = frozenset({"openai", "deepgram", "livekit"})
OTHERS_MAX = 16
"""Further values of a label: an agent's own kinds of errors, another provider."""
OTHER = "other"
NAME_MAX = 64
"""Characters of a label's value."""

_NO_RESTART = frozenset({Reason.STOP.value, Reason.SCALE.value})
"""Nobody takes the place of a worker that leaves for these."""


@dataclass(slots=True)
class Histogram:
    """How many values were at most each bound of SECONDS, and how many there were."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


class Names:
    """The values that a label may have, which workers choose: known ones, the first others, and OTHER for the rest.

    Each different value costs memory here and in Prometheus, for ever.
    """

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._others: set[str] = set()

    def of(self, name: str) -> str:
        name = name[:NAME_MAX].encode(errors="replace").decode()  # no lone surrogates: they cannot be sent
        if name in self._known or name in self._others:
            return name
        if len(self._others) >= OTHERS_MAX:
            return OTHER
        self._others.add(name)
        return name


class Metrics:
    """Counts since the daemon began, or since it was upgraded: whoever collects them knows such a fresh start."""

    def __init__(self) -> None:
        self.restarts: Counter[str] = Counter()
        self.errors: Counter[tuple[int, str]] = Counter()
        """By slot and kind: those of all workers that were in the slot."""
        self.ready, self.recovery = Histogram(), Histogram()
        self.providers = Names(PROVIDERS)
        self._kinds = Names(KINDS)
        self._errors_seen: dict[Ref, Mapping[str, int]] = {}

    def resume(self, histories: Iterable[tuple[Ref, History]]) -> None:
        """Workers that an earlier version of this daemon knew: their errors so far were counted there."""
        self._errors_seen |= {ref: history.by_seen for ref, history in histories}

    def tell(self, change: Change) -> None:
        if change.event == log_events.WORKER_READY:
            _add(self.ready, change.fields.get("after"))
        elif change.event == log_events.CALL_RECOVERED:
            _add(self.recovery, change.fields.get("seconds"))
        elif change.event == log_events.WORKER_EXITED and change.worker is not None:
            self._errors_seen.pop(change.worker, None)
            reason = str(change.fields.get("reason") or Reason.CRASH.value)
            if reason not in _NO_RESTART:
                self.restarts[reason] += 1

    def beat(self, ref: Ref, beat: Beat) -> None:
        seen = self._errors_seen.get(ref, {})
        if beat.errors_by == seen:
            return
        for kind, count in beat.errors_by.items():
            self.errors[ref.slot, self._kinds.of(kind)] += max(count - seen.get(kind, 0), 0)
        self._errors_seen[ref] = beat.errors_by


def _add(histogram: Histogram, seconds: object) -> None:
    if isinstance(seconds, int | float):
        histogram.add(seconds)


_PHASES = ("starting", "ready", "draining", "killing", "parked", "backoff", "drained")
_OUTCOMES = {"ended": "ended", "lost": "lost", "recovered": "recovered", "migrated": "migrated", "cut": "cut_by_us"}
"""Outcomes of calls, and where the status has them."""
_USAGE = {
    "requests": ("requests", "Requests to a provider."),
    "errors": ("errors", "Requests to a provider that got no useful answer."),
    "rate_limited": ("rate_limited", "Requests that a provider refused for asking too much (429)."),
    "held": ("held", "Requests not sent, because the provider had asked to wait for too long."),
    "waits": ("waits", "Requests that waited for others to end."),
    "waited": ("waited_seconds", "Seconds that requests waited for others to end."),
    "tokens_in": ("input_tokens", "Tokens sent to a provider."),
    "tokens_out": ("output_tokens", "Tokens received from a provider."),
    "characters": ("characters", "Characters spoken by a provider."),
    "audio_seconds": ("audio_seconds", "Seconds of sound that a provider has heard."),
}

Labels = Mapping[str, object]
Samples = Iterable[tuple[Labels, float]]


def render(status: Json, metrics: Metrics, host: str, accept: str = "") -> tuple[bytes, str]:
    """The whole page and its content type: OpenMetrics where `accept` asks for it. `status` is `GET /status`'s."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PoolCollector(status, metrics, host))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class PoolCollector(Collector):
    """Every metric of the pool and of the daemon, for one moment."""

    def __init__(self, status: Json, metrics: Metrics, host: str) -> None:
        self._status, self._metrics, self._host = status, metrics, host

    def collect(self) -> Iterator[Metric]:
        yield from self._workers(self._status["workers"])
        yield from self._calls()
        yield from _usage(self._status.get("usage", {}), self._metrics.providers)
        yield from self._supervisor(self._status["supervisor"])

    def _workers(self, rows: list[Json]) -> Iterator[Metric]:
        metrics, phases = self._metrics, Counter(row["phase"] for row in rows)
        yield _gauge("workers", "Workers by phase.", [({"phase": p}, phases[p]) for p in _PHASES], "phase")
        restarts = [({"reason": reason}, count) for reason, count in sorted(metrics.restarts.items())]
        yield _counter("worker_restarts", "Workers that left their place to another.", restarts, "reason")
        for name, text, key, unit, join in (
            ("pss_bytes", "Memory of the worker's processes (PSS), in bytes.", "pss_mb", 1024 * 1024, sum),
            ("cpu_ratio", "CPU of the worker's processes, in cores.", "cpu_percent", 0.01, sum),
            ("loop_lag_seconds", "How late the worker's event loop ran.", "lag_ms", 0.001, max),
        ):
            yield _gauge(f"worker_{name}", text, _of_slots(rows, key, unit, join), "slot")
        errors = [({"slot": slot, "kind": kind}, count) for (slot, kind), count in sorted(metrics.errors.items())]
        yield _counter("worker_errors", "Errors that the slot's workers have counted.", errors, "slot", "kind")
        yield _histogram("worker_ready_seconds", "From the start of a worker until it is ready.", metrics.ready)

    def _calls(self) -> Iterator[Metric]:
        active: Counter[int] = Counter()
        for row in self._status["workers"]:
            active[row["slot"]] += len(row["calls"])
        live = [({"slot": slot}, count) for slot, count in sorted(active.items())]
        yield _gauge("calls_active", "Calls that go on now.", live, "slot")
        ends = [({"outcome": outcome}, self._status["calls"][key]) for outcome, key in _OUTCOMES.items()]
        yield _counter("calls", "Calls by what became of them.", ends, "outcome")
        text = "From the loss of a call's agent until a new one is there."
        yield _histogram("call_recovery_seconds", text, self._metrics.recovery)

    def _supervisor(self, supervisor: Json) -> Iterator[Metric]:
        process = psutil.Process()
        cpu = process.cpu_times()
        about = {"version": supervisor["version"], "mode": supervisor["mode"], "host": self._host}
        yield InfoMetricFamily("mindbot_supervisor", "What runs, and where; always 1.", about)
        for name, text, value in (
            ("uptime_seconds", "Since the daemon began.", supervisor["uptime"]),
            ("workers_wanted", "Workers that there should be.", supervisor["workers_wanted"]),
            ("held", "1 while soft restarts are held.", int(supervisor["held"] is not None)),
            ("resident_memory_bytes", "Memory of the daemon itself.", process.memory_info().rss),
            ("open_fds", "Descriptors that the daemon has open.", process.num_fds()),
        ):
            yield _gauge(f"supervisor_{name}", text, [({}, value)])
        yield _counter("supervisor_cpu_seconds", "CPU time of the daemon itself.", [({}, cpu.user + cpu.system)])


def _usage(usage: Mapping[str, Mapping[str, float]], names: Names) -> Iterator[Metric]:
    for key, (name, text) in _USAGE.items():
        used: Counter[str] = Counter()
        for provider, counts in sorted(usage.items()):
            used[names.of(provider)] += counts.get(key, 0)  # type: ignore[assignment]
        samples = [({"provider": provider}, count) for provider, count in used.items()]
        yield _counter(f"provider_{name}", text, samples, "provider")


def _of_slots(rows: list[Json], key: str, unit: float, join: Callable[[list[float]], float]) -> Samples:
    """One value a slot, which may have two workers while one follows the other."""
    slots: dict[int, list[float]] = {}
    for row in rows:
        if row.get(key) is not None:
            slots.setdefault(row["slot"], []).append(row[key])
    return [({"slot": slot}, join(values) * unit) for slot, values in sorted(slots.items())]


def _gauge(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"mindbot_{name}", text, labels=labels)
    for told, value in samples:
        family.add_metric([str(told[label]) for label in labels], value)
    return family


def _counter(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    """It is shown as `name`_total."""
    family = CounterMetricFamily(f"mindbot_{name}", text, labels=labels)
    for told, value in samples:
        if math.isfinite(value):
            family.add_metric([str(told[label]) for label in labels], value)
    return family


def _histogram(name: str, text: str, values: Histogram) -> Metric:
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*map(str, SECONDS), "+Inf"), values.buckets, strict=True):
        below += count
        buckets.append((bound, below))
    family = HistogramMetricFamily(f"mindbot_{name}", text)
    family.add_metric([], buckets, values.total)
    return family
