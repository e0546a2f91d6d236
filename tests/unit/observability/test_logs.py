"""Finished log lines: strict, in the contract's order, without secrets, and not too many of them."""

import json
import logging
import sys
from datetime import UTC, datetime

import pytest
import structlog

from mindbot_config.output.redaction import MASK, Redactor
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_supervisor.observability.logging import log_pipeline
from mindbot_supervisor.observability.logging.log import SECRETS_MAX, Logs

SECRET = 'quite"secret/value'
WHEN = datetime(2026, 11, 22, 13, 0, 0, 123456, UTC)


class Kept:
    def __init__(self):
        self.lines = []

    def put(self, line, *, droppable=False):
        self.lines.append(line)

    def records(self, event=None):
        found = [json.loads(line, parse_constant=pytest.fail) for line in self.lines]
        return [record for record in found if event in (None, record["event"])]


@pytest.fixture(autouse=True)
def own_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def logs(level="info", style="json", *, begun=True) -> tuple[Logs, Kept]:
    kept = Kept()
    made = Logs(kept, level=level, style=style, redactor=Redactor([SECRET]), now=lambda: WHEN)
    if begun:
        made.begin()
    return made, kept


def test_a_change_is_one_json_line_with_the_important_things_first():
    log, kept = logs()
    log.change(Change("worker.exited", 1.0, Ref(0, 2), 77, "error", {"verdict": "crashed", "code": 1, "signal": None}))
    record = json.loads(kept.lines[0])
    assert list(record)[:7] == ["timestamp", "level", "event", "host", "worker", "slot", "pid"]
    assert record["timestamp"] == "2026-11-22T13:00:00.123Z"
    assert (record["worker"], record["slot"], record["code"], "signal" in record) == ("0.2", 0, 1, False)


def test_a_record_below_the_level_is_not_written():
    log, kept = logs(level="warning")
    log.note("some.thing", "info")
    log.note("some.thing", "error")
    assert len(kept.lines) == 1


def test_what_is_told_before_structlog_is_loaded_is_written_then_with_its_own_time():
    now = iter([WHEN.replace(second=1), WHEN.replace(second=2)])
    log, kept = logs(begun=False)
    log._now = lambda: next(now)
    log.note("some.thing", n=1)
    log.output(Ref(0, 1), 1, "info", "worker.output", {"text": "x"})
    assert kept.lines == []
    log.begin()
    log.begin()
    first, second = kept.records()
    assert (first["n"], first["timestamp"], second["timestamp"]) == (
        1,
        "2026-11-22T13:00:01.123Z",
        "2026-11-22T13:00:02.123Z",
    )


def test_the_records_are_structlogs():
    """Taken with structlog's own tools for tests, before anything of ours has touched them."""
    log, kept = logs()
    with structlog.testing.capture_logs() as captured:
        log.note("some.thing", "warning", reason="why")
    (record,) = captured
    assert (record["event"], record["log_level"], record["reason"], kept.lines) == ("some.thing", "warning", "why", [])
    log.note("some.thing")
    assert len(kept.lines) == 1


def test_without_structlog_there_is_no_log(monkeypatch):
    monkeypatch.setitem(sys.modules, "structlog", None)
    monkeypatch.delitem(sys.modules, "mindbot_supervisor.observability.logging.log_pipeline")
    log, kept = logs(begun=False)
    log.note("some.thing")
    with pytest.raises(ImportError):
        log.begin()
    assert kept.lines == []


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_secret_gets_through_in_any_spelling(style):
    log, kept = logs(style=style)
    log.note("some.thing", detail=f"key={SECRET}", nested={"list": [SECRET]}, plain=SECRET)
    log.output(Ref(0, 1), 1, "info", "worker.output", {"text": f"Bearer abcdefghijkl {SECRET}"})
    log.note("some.thing", detail="eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl sk-abcdefghij0123456789")
    text = b"".join(kept.lines).decode()
    for part in ("quite", "abcdefghijkl", "eyJ", "sk-a"):
        assert part not in text
    if style == "json":
        assert all(json.loads(line) for line in kept.lines)


def test_a_secret_that_was_replaced_is_still_masked_as_old_workers_have_it():
    log, kept = logs()
    log.learn(["another-value"])
    log.note("some.thing", old=SECRET, new="another-value")
    assert (kept.records()[0]["old"], kept.records()[0]["new"]) == (MASK, MASK)
    for round_ in range(3):
        log.learn([f"value-{round_}-{number}" for number in range(SECRETS_MAX)])
    assert len(log._mask.redactor.values) <= SECRETS_MAX


def test_a_newline_in_a_value_does_not_break_the_line():
    log, kept = logs()
    log.note("some.thing", detail="two\nlines")
    assert kept.lines[0].count(b"\n") == 1


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "\ud800", {"deep": [float("-inf")]}, b"x", object])
def test_whatever_a_field_holds_the_line_is_strict_json(value):
    log, kept = logs()
    log.output(Ref(0, 1), 1, "info", "worker.log", {"v": value, "self": 1, "event": "mine", "level": "mine"})
    (record,) = kept.records()
    assert (record["event"], record["level"], record["self"]) == ("worker.log", "info", 1)


def test_on_a_terminal_nothing_that_a_worker_says_is_obeyed():
    log, kept = logs(style="console")
    hostile = "\x1b[2J\x1b]0;owned\x07\r\u202e\x9b1m\ud800"
    log.output(
        Ref(0, 1), 1, "error", "worker.output", {"text": hostile, hostile: hostile, "deep": {hostile: [hostile]}}
    )
    log.change(Change("call.lost", 1.0, Ref(0, 1), 7, "error", {"room": hostile}))
    text = b"".join(kept.lines).decode()
    assert "\\x1b[2J" in text and "\\u202e" in text and "\\ud800" in text
    assert not any(char in text for char in "\x1b\x07\r\u202e\x9b")


def test_what_happens_too_often_is_counted_and_told_once():
    log, kept = logs()
    clock = [0.0]
    log._limit._clock = lambda: clock[0]
    burst = int(log_pipeline._RARE[log_events.BEAT_REJECTED][1])
    for _ in range(34_000):
        log.change(Change(log_events.BEAT_REJECTED, 1.0, Ref(0, 1), 7, "warning", {"detail": "not JSON"}))
    log.change(Change(log_events.BEAT_REJECTED, 1.0, Ref(1, 1), 8, "warning", {"detail": "not JSON"}))
    assert len(kept.lines) == burst + 1, "the other worker's is told"
    log.tick()
    assert len(kept.lines) == burst + 1
    clock[0] = 20.0
    log.tick()
    log.tick()
    (summary,) = kept.records(log_events.LOG_SUPPRESSED)
    expected = {"worker": "0.1", "slot": 0, "of": "beat.rejected", "count": 34_000 - burst, "level": "warning"}
    assert summary.items() >= expected.items()


def test_what_happens_to_all_calls_of_a_large_worker_is_told_call_by_call():
    log, kept = logs()
    for number in range(500):
        log.change(Change(log_events.CALL_LOST, 1.0, Ref(0, 1), 7, "error", {"room": f"r{number}"}))
    assert len(kept.lines) == 500
    for number in range(163_000):
        log.change(Change(log_events.CALL_STARTED, 1.0, Ref(0, 1), 7, "info", {"room": f"r{number}"}))
    assert len(kept.lines) < 2000
    log.tick(all_of_it=True)
    (summary,) = kept.records(log_events.LOG_SUPPRESSED)
    assert summary["of"] == "call.started" and summary["count"] > 160_000


def test_what_a_library_logs_in_the_daemon_takes_the_same_way():
    _, kept = logs()
    try:
        raise ValueError(f"bad {SECRET}")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", "\x1b[2J")
    logging.getLogger("asyncio").warning("%d too many", "arguments do not fit")
    logging.getLogger("x").info("nothing that anybody must know")
    (record,) = kept.records()
    assert record.items() >= {"event": "supervisor.log", "level": "error", "logger": "aiohttp.server"}.items()
    assert MASK in record["error"] and "Traceback" in record["traceback"] and SECRET not in kept.lines[0].decode()
    for _ in range(1000):
        logging.getLogger("aiohttp.server").warning("again")
    assert len(kept.lines) < 150
