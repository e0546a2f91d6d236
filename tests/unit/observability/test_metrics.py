"""The page for Prometheus: its names, what is counted, and that Prometheus' own parser reads it."""

from __future__ import annotations

from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Ref, Sample
from mindbot_supervisor.observability.metrics import KINDS, NAME_MAX, OTHER, OTHERS_MAX, Metrics, render
from mindbot_supervisor.observability.status import View
from mindbot_worker.protocol import heartbeat
from unit.core.build import Driver, policy

CONTRACT = {
    "mindbot_workers": {"phase"},
    "mindbot_worker_restarts_total": {"reason"},
    "mindbot_worker_pss_bytes": {"slot"},
    "mindbot_worker_cpu_ratio": {"slot"},
    "mindbot_worker_loop_lag_seconds": {"slot"},
    "mindbot_worker_errors_total": {"slot", "kind"},
    "mindbot_calls_active": {"slot"},
    "mindbot_calls_total": {"outcome"},
    "mindbot_call_recovery_seconds_count": set(),
    "mindbot_worker_ready_seconds_count": set(),
}
"""The public names, each with its labels."""

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def beat(**fields: Any) -> heartbeat.Beat:
    return heartbeat.Beat(1, heartbeat.READY, **fields)


def read(page: str) -> Values:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(page)
        for sample in family.samples
    }


def value(values: Values, name: str, **labels: str) -> float | None:
    return values.get((name, frozenset(labels.items())))


def pool_page(metrics: Metrics, usage: dict[str, Any] | None = None) -> Values:
    driver = Driver(policy())
    driver.fill()
    driver.do(
        driver.pool.sample(Ref(0, 1), Sample(pss_mb=100.0, rss_mb=200.0, uss_mb=90.0, cpu_percent=25.0), driver.now)
    )
    status = View("1.2", 1, "local", 0.0).status(driver.pool, driver.now, 0.0)
    return read(render({**status, "usage": usage or {}}, metrics, 'a "host"')[0].decode())


def happened() -> Metrics:
    metrics = Metrics()
    ref = Ref(0, 1)
    metrics.tell(Change(log_events.WORKER_READY, 1.0, ref, fields={"after": 0.4}))
    metrics.tell(Change(log_events.WORKER_READY, 1.0, ref, fields={"detail": "heard again"}))
    metrics.tell(Change(log_events.CALL_RECOVERED, 1.0, ref, fields={"seconds": 0.31}))
    metrics.beat(ref, beat(errors_by={"llm": 2, "job": 1}))
    metrics.beat(ref, beat(errors_by={"llm": 3, "job": 1}))
    metrics.tell(Change(log_events.WORKER_EXITED, 2.0, ref, fields={"reason": "errors"}))
    metrics.beat(Ref(0, 2), beat(errors_by={"llm": 1}))
    metrics.tell(Change(log_events.WORKER_EXITED, 3.0, Ref(0, 2), fields={"reason": None}))
    metrics.tell(Change(log_events.WORKER_EXITED, 3.0, Ref(1, 1), fields={"reason": "stop"}))
    return metrics


def test_every_public_name_is_there_with_its_labels() -> None:
    values = pool_page(happened())
    found: dict[str, set[str]] = {}
    for name, labels in values:
        found.setdefault(name, set()).update(key for key, _ in labels)
    assert {name: found.get(name) for name in CONTRACT} == CONTRACT
    assert {"ended", "lost", "recovered", "migrated", "cut"} == {
        dict(labels)["outcome"] for name, labels in values if name == "mindbot_calls_total"
    }
    assert [name for name in found if name.startswith("mindbot_supervisor_")]
    assert all(name.startswith("mindbot_") for name in found)


def test_the_figures_are_those_of_the_status_in_base_units() -> None:
    values = pool_page(Metrics())
    assert value(values, "mindbot_workers", phase="ready") == 3
    assert value(values, "mindbot_workers", phase="parked") == 0
    assert value(values, "mindbot_worker_pss_bytes", slot="0") == 100 * 1024 * 1024
    assert value(values, "mindbot_worker_cpu_ratio", slot="0") == 0.25
    assert value(values, "mindbot_supervisor_info", version="1.2", mode="local", host='a "host"') == 1


def test_errors_of_a_slot_grow_over_its_generations_and_restarts_have_their_reason() -> None:
    values = pool_page(happened())
    assert value(values, "mindbot_worker_errors_total", slot="0", kind="llm") == 4
    assert value(values, "mindbot_worker_errors_total", slot="0", kind="job") == 1
    assert value(values, "mindbot_worker_restarts_total", reason="errors") == 1
    assert value(values, "mindbot_worker_restarts_total", reason="crash") == 1
    assert value(values, "mindbot_worker_restarts_total", reason="stop") is None


def test_histograms_are_cumulative() -> None:
    values = pool_page(happened())
    assert value(values, "mindbot_worker_ready_seconds_bucket", le="0.3") == 0
    assert value(values, "mindbot_worker_ready_seconds_bucket", le="0.5") == 1
    assert value(values, "mindbot_worker_ready_seconds_bucket", le="+Inf") == 1
    assert value(values, "mindbot_worker_ready_seconds_sum") == 0.4
    assert value(values, "mindbot_call_recovery_seconds_count") == 1


def test_use_of_the_providers_is_told_by_provider() -> None:
    used = {"openai": {"requests": 7, "tokens_in": 50, "waited": 1.5}, "deepgram": {"audio_seconds": 61.2}}
    values = pool_page(Metrics(), used)
    assert value(values, "mindbot_provider_requests_total", provider="openai") == 7
    assert value(values, "mindbot_provider_input_tokens_total", provider="openai") == 50
    assert value(values, "mindbot_provider_waited_seconds_total", provider="openai") == 1.5
    assert value(values, "mindbot_provider_audio_seconds_total", provider="deepgram") == 61.2
    assert value(values, "mindbot_provider_rate_limited_total", provider="openai") == 0


def test_after_an_upgrade_in_place_old_errors_are_not_counted_again() -> None:
    driver = Driver(policy())
    driver.fill()
    history = driver.pool.histories[Ref(0, 1)]
    history.by_seen = {"llm": 5}
    metrics = Metrics()
    metrics.resume(driver.pool.histories.items())
    metrics.beat(Ref(0, 1), beat(errors_by={"llm": 6}))
    assert metrics.errors == {(0, "llm"): 1}


def test_names_that_workers_choose_are_bounded_and_the_known_ones_always_have_their_place() -> None:
    metrics = Metrics()
    for n in range(5000):
        metrics.beat(Ref(0, 1), beat(errors_by={f"kind-{n}": 1}))
    metrics.beat(Ref(0, 1), beat(errors_by=dict.fromkeys(KINDS, 1)))
    kinds = {kind for _, kind in metrics.errors}
    assert kinds > KINDS and OTHER in kinds and len(kinds) == len(KINDS) + OTHERS_MAX + 1
    assert sum(metrics.errors.values()) == 5000 + len(KINDS)
    used = {f"provider-{n}": {"requests": 1} for n in range(5000)} | {"openai": {"requests": 7}}
    values = pool_page(metrics, used)
    requests = {labels: count for (name, labels), count in values.items() if name == "mindbot_provider_requests_total"}
    providers = {dict(labels)["provider"]: count for labels, count in requests.items()}
    assert len(providers) == OTHERS_MAX + 2 and providers["openai"] == 7
    assert sum(providers.values()) == 5007


def test_what_no_page_could_carry_is_made_fit_for_it() -> None:
    metrics = Metrics()
    hostile = ["\ud800", "a\n b", 'quote"', "back\\slash", "x" * 10_000, "\x1b[2J", ""]
    metrics.beat(Ref(0, 1), beat(errors_by=dict.fromkeys(hostile, 1)))
    values = pool_page(metrics, {"\udfff": {"requests": 1.0}, "nan": {"requests": float("nan")}})
    kinds = {dict(labels)["kind"] for name, labels in values if name == "mindbot_worker_errors_total"}
    assert {"a\n b", 'quote"', "back\\slash", "x" * NAME_MAX, "\x1b[2J", "", "?"} == kinds


def test_openmetrics_is_for_whoever_asks_for_it() -> None:
    driver = Driver(policy())
    driver.fill()
    status = View("1.2", 1, "local", 0.0).status(driver.pool, driver.now, 0.0)
    plain, kind = render(status, happened(), "h")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    accept = "application/openmetrics-text; version=1.0.0; q=0.5, text/plain; q=0.1"
    opened, kind = render(status, happened(), "h", accept)
    assert kind.startswith("application/openmetrics-text; version=1.0.0") and opened.endswith(b"# EOF\n")
    families = {family.name: family for family in parse_openmetrics(opened.decode())}
    assert families["mindbot_calls"].type == "counter" and families["mindbot_worker_ready_seconds"].type == "histogram"
    assert {s.name for f in families.values() for s in f.samples} == {name for name, _ in read(plain.decode())}
