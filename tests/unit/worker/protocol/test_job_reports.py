"""Reports of job processes: read back as written; anything else on the socket is ignored."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindbot_worker.jobs.reporter import Outbox
from mindbot_worker.protocol.job_reports import Report, decode, encode
from mindbot_worker.runtime.inbox import Inbox

REPORT = Report(
    "AJ_1",
    3,
    "speaking",
    12.5,
    {"llm": 2},
    1,
    failed=True,
    summary={"audio": "quiet", "response_p95": 1.25, "turns": 3},
)


def test_a_report_survives_the_way() -> None:
    assert decode(encode(REPORT)) == REPORT


@given(st.binary(max_size=500))
def test_garbage_is_no_report(datagram: bytes) -> None:
    assert decode(datagram) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"job": 3, "seq": 1},
        {"job": "j"},
        {"job": "j", "seq": "1"},
        {"job": "j", "seq": 1, "errors": {"llm": -1}},
        {"job": "j", "seq": 1, "errors": {"x" * 65: 1}},
        {"job": "j", "seq": 1, "active_at": "now"},
        {"job": "j", "seq": 1, "state": "s" * 65},
        {"job": "j", "seq": 1, "failed": 1},
        {"job": "j", "seq": 1, "unknown": 1},
        {"job": "j", "seq": 1, "summary": []},
        {"job": "j", "seq": 1, "summary": {"audio": "x" * 33}},
        {"job": "j", "seq": 1, "summary": {"x" * 33: 1}},
        {"job": "j", "seq": 1, "summary": {"nested": {}}},
        {"job": "j", "seq": 1, "summary": {"flag": True}},
        {"job": "j", "seq": 1, "summary": {"never": float("nan")}},
        {"job": "j", "seq": 1, "summary": {str(n): n for n in range(41)}},
        {"job": "j", "seq": 1, "active_at": float("nan")},
        {"job": "j", "seq": 1, "active_at": 10**400},
        [],
        None,
    ],
)
def test_a_report_of_the_wrong_shape_is_ignored(fields: Any) -> None:
    import json

    assert decode(json.dumps(fields).encode()) is None


def test_reports_travel_through_a_private_socket_that_is_gone_at_the_end(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, "0.1")
    assert inbox.path.parent == tmp_path and inbox.path.stat().st_mode & 0o777 == 0o600
    received: list[Report] = []
    inbox._deliver = received.append
    outbox = Outbox(str(inbox.path))
    assert outbox.send(encode(REPORT)) and outbox.send(b"garbage")
    inbox.read()
    assert received == [REPORT] and inbox.rejected == 1
    inbox.unlink()
    assert not inbox.path.exists()


def test_a_runtime_directory_with_too_long_a_name_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    inbox = Inbox(deep, "0.1")
    assert len(os.fsencode(inbox.path)) < 108 and inbox.path.parent.stat().st_mode & 0o777 == 0o700
    inbox.unlink()
    assert not inbox.path.parent.exists()


def test_a_job_never_waits_for_a_worker_that_does_not_read(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sleeper = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sleeper.bind(str(path))
    outbox = Outbox(str(path))
    assert not all(outbox.send(encode(REPORT)) for _ in range(10_000))


def test_a_job_survives_a_worker_that_is_gone(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "nobody"))
    assert not outbox.send(encode(REPORT))
