"""Finished log lines."""

import json
import os
from datetime import UTC, datetime

import pytest

from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_supervisor.observability.logging.log import Logs
from mindbot_supervisor.observability.logging.log_sink import KEPT, OUTPUT_KEPT, Sink
from mindbot_supervisor.observability.logging.redaction import Redactor

SECRET = 'quite"secret/value'
WHEN = datetime(2026, 11, 22, 13, 0, 0, 123456, UTC)


class Kept:
    def __init__(self):
        self.lines = []

    def put(self, line, *, droppable=False):
        self.lines.append(line)


def logs(level="info", style="json") -> tuple[Logs, Kept]:
    kept = Kept()
    return Logs(kept, level=level, style=style, redactor=Redactor([SECRET]), now=lambda: WHEN), kept


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


def test_a_newline_in_a_value_does_not_break_the_line():
    log, kept = logs()
    log.note("some.thing", detail="two\nlines")
    assert kept.lines[0].count(b"\n") == 1


def test_a_reader_who_does_not_read_never_blocks_the_writer():
    reader, writer = os.pipe()
    sink = Sink(writer)
    for _ in range(KEPT * 2):
        sink.put(b"x" * 20 + b"\n")
    assert sink.dropped > 0
    os.close(reader)
    sink.close()
    os.close(writer)


def test_workers_output_is_dropped_before_lifecycle_events_are():
    reader, writer = os.pipe()
    sink = Sink(writer)
    for _ in range(OUTPUT_KEPT * 3):
        sink.put(b"x" * 50 + b"\n", droppable=True)
    dropped = sink.dropped
    sink.put(b"important\n")
    assert dropped > 0
    assert sink.dropped == dropped
    os.close(reader)
    sink.close()
    os.close(writer)


def test_a_log_file_that_was_moved_away_is_opened_anew(tmp_path):
    path = tmp_path / "log"
    sink = Sink(None, path)
    sink.put(b"one\n")
    _wait_for(lambda: path.read_bytes() == b"one\n")
    path.rename(tmp_path / "old")
    sink.put(b"two\n")
    _wait_for(lambda: path.exists() and path.read_bytes() == b"two\n")
    sink.close()


def _wait_for(fact):
    import time

    until = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < until
        time.sleep(0.01)
