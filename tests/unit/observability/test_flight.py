"""The flight record: the last minute of a worker, within bounds, without secrets and without what was said."""

import json

import pytest

from mindbot_config.output.redaction import Redactor
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Ref, Sample
from mindbot_supervisor.observability import flight_recorder
from mindbot_supervisor.observability.flight_recorder import CHANGES, ENDED, LINES, MINUTE, TEXT_MAX, Recorder
from mindbot_worker.protocol.heartbeat import Beat, Call

A = Ref(0, 1)


class Recorded:
    """A recorder with a clock of its own, and what it wrote."""

    def __init__(self, transcripts: bool = False) -> None:
        self.now = 0.0
        self.written: list[str] = []
        self.recorder = Recorder(
            self.written.append,
            Redactor(["s3cret"]).clean,
            lambda: self.now,
            lambda: 1000.0 + self.now,
            transcripts=lambda: transcripts,
            stamp={"daemon": 1},
        )

    def tell(self, event: str, ref: Ref = A, **fields: object) -> None:
        self.recorder.change(Change(event, self.now, ref, 7, fields=fields))

    def end(self, ref: Ref = A, **fields: object) -> dict:
        self.tell(log_events.WORKER_EXITED, ref, **{"verdict": "crashed", "code": 1, "reason": "crash", **fields})
        self.recorder.finish(ref)
        return self.recorder.ended(ref)


def test_a_record_tells_the_last_minute_in_seconds_before_the_end():
    seen = Recorded()
    for second in range(200):
        seen.now = float(second)
        seen.recorder.beat(A, Beat(second, "ready", calls=(Call("r1", "j1"),)), seen.now)
        seen.recorder.sample(A, Sample(10.04, 9, 11, 50.0, 2), seen.now)
    entry = seen.end()
    assert [entry["beats"][at]["at"] for at in (0, -1)] == [-(MINUTE - 1), 0]
    assert entry["beats"][-1]["calls"] == ["r1"]
    assert entry["samples"][-1] == {"at": 0, "pss_mb": 10.0, "rss_mb": 11, "cpu_percent": 50.0, "processes": 2}
    assert (entry["worker"], entry["verdict"], entry["at"], entry["daemon"]) == ("0.1", "crashed", 1199.0, 1)
    assert json.loads(seen.written[0]) == entry


def test_fast_beats_are_kept_one_a_second():
    seen = Recorded()
    for number in range(1000):
        seen.now = number / 10
        seen.recorder.beat(A, Beat(number, "ready"), seen.now)
    beats = seen.end()["beats"]
    assert len(beats) == MINUTE
    assert beats[0]["at"] < -55
    assert beats[-1]["at"] == 0


def test_a_record_is_bounded_whatever_a_worker_says():
    seen = Recorded()
    for _ in range(10_000):
        seen.recorder.output(A, "info", "worker.output", {"text": "x" * 16_000})
        seen.tell(log_events.WORKER_READY, room="r")
    entry = seen.end()
    assert (len(entry["log"]), len(entry["changes"])) == (LINES, CHANGES)
    assert max(map(len, entry["log"])) < TEXT_MAX + 100
    assert len(seen.written[0]) < 100_000


def test_secrets_are_masked_in_what_is_written_and_in_what_is_told():
    seen = Recorded()
    seen.recorder.output(A, "error", "worker.output", {"text": "key s3cret"})
    seen.tell(log_events.WORKER_DRAINING, detail="s3cret")
    assert "s3cret" not in json.dumps(seen.recorder.live(A, seen.now))
    seen.end()
    assert "s3cret" not in seen.written[0]
    assert "***" in seen.written[0]


@pytest.mark.parametrize("transcripts", [False, True])
def test_what_was_said_is_kept_only_where_the_settings_ask_for_it(transcripts):
    seen = Recorded(transcripts)
    seen.recorder.output(A, "info", "user.speech", {"text": "my secret", "characters": 9})
    seen.recorder.output(A, "debug", "worker.log", {"message": "received", "user_transcript": "my secret"})
    text = json.dumps(seen.end()["log"])
    assert ("my secret" in text) is transcripts
    assert "characters" in text


def test_the_evidence_and_the_stack_of_a_kill_stand_in_the_record():
    seen = Recorded()
    seen.tell(log_events.WORKER_KILLING, reason="hung", value=11.0, limit=10.0, calls=1, detail="blocked")
    seen.tell(log_events.WORKER_STACK, stack='File "a.py"')
    entry = seen.end(verdict="killed", reason="hung")
    assert entry["evidence"] == {"value": 11.0, "limit": 10.0, "detail": "blocked"}
    assert entry["stack"] == 'File "a.py"'


def test_calls_that_were_lost_with_the_worker_belong_to_its_record():
    seen = Recorded()
    seen.tell(log_events.WORKER_EXITED, verdict="signal", reason="crash")
    seen.tell(log_events.CALL_LOST, room="r1")
    seen.recorder.finish(A)
    assert [change["event"] for change in seen.recorder.ended(A)["changes"]] == [
        log_events.WORKER_EXITED,
        log_events.CALL_LOST,
    ]


def test_the_last_minute_goes_on_in_the_next_version_of_the_program():
    old, new = Recorded(), Recorded()
    for second in range(90):
        old.now = float(second)
        old.recorder.beat(A, Beat(second, "ready", calls=(Call("r1", "j1"),), problem="slow"), old.now)
        old.recorder.sample(A, Sample(10.04, 9, 11, 50.0, 2), old.now)
        old.recorder.output(A, "info", "worker.output", {"text": f"line {second}"})
    old.tell(log_events.WORKER_SUSPECT, limit=Ref(1, 2))
    old.tell(log_events.WORKER_KILLING, reason="hung", value=11.0)
    old.tell(log_events.WORKER_STACK, stack='File "a.py"')
    new.recorder.restore(old.recorder.saved())
    new.now = old.now
    assert new.recorder.live(A, new.now) == old.recorder.live(A, old.now)
    new.now += 30
    new.recorder.beat(A, Beat(0, "ready"), new.now)
    new.tell(log_events.WORKER_EXITED, verdict="killed", reason="hung")
    new.recorder.finish(A)
    entry = new.recorder.ended(A)
    assert (len(entry["beats"]), len(entry["log"])) == (MINUTE, LINES), "the bounds hold on"
    assert entry["beats"][0]["at"] == -88, "the oldest has made room"
    assert entry["evidence"] == {"value": 11.0}


def test_what_is_handed_over_is_bounded(monkeypatch):
    seen = Recorded()
    for slot in range(50):
        seen.recorder.output(Ref(slot, 1), "info", "worker.output", {"text": "x" * 900})
    monkeypatch.setattr(flight_recorder, "SAVED_MAX", 10_000)
    saved = seen.recorder.saved()
    assert 5 < len(saved) < 12
    assert sum(map(len, saved)) <= 10_000


def test_an_end_that_everybody_wished_is_remembered_but_not_written():
    seen = Recorded()
    assert seen.end(verdict="asked", reason="stop")["verdict"] == "asked"
    assert seen.written == []


def test_only_so_many_ended_workers_are_remembered_and_late_news_of_them_is_dropped():
    seen = Recorded()
    for generation in range(1, ENDED + 10):
        seen.end(Ref(0, generation))
    assert seen.recorder.ended(Ref(0, 1)) is None
    assert seen.recorder.last_ended(0) == Ref(0, ENDED + 9)
    seen.tell(log_events.CALL_LOST, Ref(0, ENDED + 9), room="late")
    assert "late" not in json.dumps(seen.recorder.ended(Ref(0, ENDED + 9)))
    assert len(seen.recorder.ended_refs()) == ENDED


def test_beats_with_a_thousand_calls_take_as_much_room_as_a_few():
    seen = Recorded()
    calls = tuple(Call("r" * 500 + str(n), f"j{n}") for n in range(1000))
    for second in range(MINUTE):
        seen.recorder.beat(A, Beat(second, "ready", calls=calls), float(second))
    entry = seen.end()
    assert (len(entry["beats"][-1]["calls"]), entry["beats"][-1]["calls_in_all"]) == (flight_recorder.ROOMS, 1000)
    assert len(json.dumps(entry)) < 200_000


def test_no_number_of_calls_pushes_the_workers_own_life_out_of_its_record():
    seen = Recorded()
    seen.tell(log_events.WORKER_SPAWNED)
    for number in range(1000):
        seen.tell(log_events.CALL_STARTED, room=f"r{number}", job=f"j{number}")
    told = [change["event"] for change in seen.end()["changes"]]
    assert told[0] == log_events.WORKER_SPAWNED
    assert told.count(log_events.CALL_STARTED) == flight_recorder.CALL_CHANGES


def test_what_becomes_of_calls_after_their_workers_end_is_kept_nowhere():
    seen = Recorded()
    for slot in range(1000):
        seen.tell(log_events.CALL_RECOVERED, Ref(slot, 1), room="r")
    assert not seen.recorder._flights
