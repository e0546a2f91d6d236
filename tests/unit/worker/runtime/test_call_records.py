"""The book of calls: what counts, what does not, and what the supervisor is told."""

from __future__ import annotations

import pytest

from mindbot_worker.protocol import heartbeat
from mindbot_worker.protocol.job_reports import Report
from mindbot_worker.runtime.call_records import ENDED_REPEATED_FOR, CallRecords, StartedCall

CALL = StartedCall(room="r", job="j", identity="agent-j", pid=7, started=1e9)


def opened(now: float = 100.0) -> CallRecords:
    calls = CallRecords(now)
    calls.opened(CALL, now)
    return calls


def test_a_call_is_live_from_its_start_to_its_end() -> None:
    calls = opened()
    assert calls.live(100.5) == (heartbeat.Call("r", "j", "agent-j", 7, 1e9, 0.5, "starting"),)
    assert calls.closed("j", died=False, now=101) == heartbeat.COMPLETED
    assert calls.live(101) == () and calls.jobs_started == 1 and calls.jobs_failed == 0


@pytest.mark.parametrize(
    ("failed", "died", "outcome", "errors", "jobs_failed"),
    [
        (False, False, heartbeat.COMPLETED, {}, 0),
        (True, False, heartbeat.FAILED, {"job": 1}, 1),
        (False, True, heartbeat.KILLED, {"crash": 1}, 1),
        (True, True, heartbeat.KILLED, {"job": 1, "crash": 1}, 1),
    ],
)
def test_the_outcome_of_a_call(
    failed: bool, died: bool, outcome: str, errors: dict[str, int], jobs_failed: int
) -> None:
    calls = opened()
    if failed:
        calls.reported(Report("j", 1, errors={"job": 1}, fatal=1, failed=True), 101)
    assert calls.closed("j", died=died, now=102) == outcome
    assert (dict(calls.errors), calls.jobs_failed) == (errors, jobs_failed)
    assert calls.errors_fatal == calls.errors_total == sum(errors.values())


def test_errors_are_counted_by_their_growth_so_a_lost_or_repeated_report_does_no_harm() -> None:
    calls = opened()
    calls.reported(Report("j", 1, errors={"stt": 1}), 101)
    calls.reported(Report("j", 4, errors={"stt": 3, "llm": 1}, fatal=1, of_providers=3), 102)
    assert calls.errors_of_providers == 3
    calls.reported(Report("j", 2, errors={"stt": 2}), 103)
    calls.reported(Report("j", 4, errors={"stt": 9}), 103)
    assert (dict(calls.errors), calls.errors_fatal) == ({"stt": 3, "llm": 1}, 1)


def test_only_a_change_is_worth_a_beat_of_its_own() -> None:
    calls = opened()
    assert calls.reported(Report("j", 1, "listening", 101), 101)
    assert not calls.reported(Report("j", 2, "listening", 102), 102)
    assert calls.reported(Report("j", 3, "speaking", 103), 103)
    assert calls.reported(Report("j", 4, "speaking", 103, {"tts": 1}), 104)
    assert calls.live(110)[0].idle == 7


def test_a_report_that_comes_before_its_call_is_kept_and_strangers_are_forgotten() -> None:
    calls = CallRecords(100)
    calls.reported(Report("j", 1, errors={"job": 1}, fatal=1, failed=True), 100)
    for number in range(1000):
        calls.reported(Report(f"stranger-{number % 60}", number), 100)
    calls.opened(CALL, 100)
    assert calls.closed("j", died=False, now=101) == heartbeat.FAILED


def test_activity_from_the_future_counts_as_now() -> None:
    calls = opened()
    calls.reported(Report("j", 1, active_at=1e11), 101)
    assert calls.live(106)[0].idle == 5 and calls.idle(106) == 5


def test_the_end_of_a_call_tells_what_it_was_like_however_it_ended() -> None:
    for died in (False, True):
        calls = opened()
        calls.reported(Report("j", 1, summary={"turns": 1}), 101)
        calls.reported(Report("j", 2, summary={"turns": 2, "audio": "good"}), 102)
        calls.closed("j", died=died, now=103)
        assert calls.ended(103)[0].summary == {"turns": 2, "audio": "good"}


def test_the_end_of_a_call_is_repeated_for_a_while() -> None:
    calls = opened()
    calls.closed("j", died=False, now=200)
    assert calls.ended(200 + ENDED_REPEATED_FOR) == (heartbeat.Ended("r", "j", heartbeat.COMPLETED),)
    assert calls.ended(200.1 + ENDED_REPEATED_FOR) == ()


def test_a_call_that_nobody_opened_does_not_end() -> None:
    calls = CallRecords(100)
    assert calls.closed("j", died=True, now=101) is None and calls.errors_total == 0


def test_processes_that_do_not_start_make_a_storm_for_a_minute() -> None:
    calls = CallRecords(100)
    for second in range(5):
        calls.process_did_not_start(100 + second)
    calls.idle_process_died(105)
    assert calls.storm(105) == 6 and dict(calls.errors) == {"init": 5, "crash": 1}
    assert calls.storm(162) == 4 and calls.storm(300) == 0
    assert calls.errors_fatal == 6 and calls.jobs_failed == 0
