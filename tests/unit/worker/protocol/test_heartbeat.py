"""The heartbeat protocol: what is read back is what was written, and nothing that comes in can harm the reader."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindbot_worker.protocol import heartbeat

texts = st.text(max_size=100)
counts = st.integers(min_value=0, max_value=2**53 - 1)
numbers = st.floats(min_value=0, max_value=1e9).map(lambda value: round(value, 2))
pids = st.integers(min_value=2, max_value=2**31 - 1)
calls = st.builds(
    heartbeat.Call,
    room=texts,
    job=texts,
    identity=texts,
    pid=st.none() | pids,
    started=st.none() | numbers,
    idle=numbers,
    state=texts,
)
ends = st.builds(
    heartbeat.Ended,
    room=texts,
    job=texts,
    outcome=st.sampled_from([heartbeat.COMPLETED, heartbeat.FAILED, heartbeat.KILLED]),
    summary=st.dictionaries(st.text(max_size=32), numbers | st.text(max_size=32), max_size=5),
)
beats = st.builds(
    heartbeat.Beat,
    seq=counts,
    state=st.sampled_from(sorted(heartbeat.STATES)),
    source=st.just(heartbeat.FROM_LOOP),
    registered=st.none() | st.booleans(),
    worker_id=texts,
    lag_ms=numbers,
    load=numbers,
    calls=st.lists(calls, max_size=5).map(tuple),
    ended=st.lists(ends, max_size=5).map(tuple),
    errors_total=counts,
    errors_fatal=counts,
    errors_of_providers=counts,
    errors_by=st.dictionaries(st.text(max_size=heartbeat.NAME_MAX), counts, max_size=5),
    jobs_started=counts,
    jobs_failed=counts,
    jobs_storm=counts,
    pids=st.lists(pids, max_size=5).map(tuple),
    idle=st.none() | numbers,
    problem=texts,
    failure=st.none() | st.builds(heartbeat.Failure, code=st.integers(1, 255), message=texts),
)


@given(beats)
def test_a_beat_survives_the_way_through_the_pipe(beat: heartbeat.Beat) -> None:
    line = heartbeat.encode(beat)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert heartbeat.decode(line[:-1]) == beat


@given(st.binary(max_size=2000))
def test_garbage_is_refused_and_nothing_else_is_raised(line: bytes) -> None:
    with pytest.raises(heartbeat.BadBeat):
        heartbeat.decode(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
KEYS = ["seq", "state", "source", "registered", "worker_id", "lag_ms", "load", "calls", "ended", "errors", "jobs"]
KEYS += ["pids", "idle", "problem", "failure"]


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_wrong_types_are_refused_or_read_as_defaults(fields: dict[str, Any]) -> None:
    line = json.dumps({"v": 1, "seq": 1, "state": "ready", **fields}).encode()
    try:
        beat = heartbeat.decode(line)
    except heartbeat.BadBeat as exc:
        assert str(exc)
    else:
        assert all(math.isfinite(value) for value in (beat.lag_ms, beat.load, beat.idle or 0.0))
        assert all(pid > 1 for pid in beat.pids)


def line(**fields: Any) -> bytes:
    return json.dumps({"v": 1, "seq": 1, "state": "ready", **fields}).encode()


BAD = {
    "empty": (b"", "not JSON"),
    "no object": (b"[1]", "not a JSON object"),
    "not UTF-8": (b'{"v":1,"state":"\xff\xfe"}', "not JSON"),
    "NaN": (b'{"v":1,"seq":1,"state":"ready","lag_ms":NaN}', "NaN"),
    "infinity": (b'{"v":1,"seq":1,"state":"ready","load":-Infinity}', "Infinity"),
    "too large a number": (b'{"v":1,"seq":1,"state":"ready","load":1e400}', "load is not a number"),
    "ten megabytes": (b'{"v":1,"seq":1,"state":"ready","problem":"' + b"x" * 10_000_000 + b'"}', "longer than"),
    "nested deeply": (b'{"v":1,"calls":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "nested too deeply"),
    "a number of 5000 digits": (b'{"v":1,"seq":' + b"9" * 5000 + b"}", "not JSON"),
    "no version": (b'{"seq":1,"state":"ready"}', "version"),
    "version true": (line(v=True), "version"),
    "next version": (line(v=2), "version"),
    "no seq": (b'{"v":1,"state":"ready"}', "seq is missing"),
    "negative seq": (line(seq=-1), "seq is not"),
    "no such state": (line(state="happy"), "state is not one of"),
    "state of another type": (line(state=3), "state is not a string"),
    "pid of init": (line(pids=[1]), "pids is not a process id"),
    "our own group": (line(calls=[{"room": "r", "job": "j", "pid": 0}]), "calls.pid is not a process id"),
    "call without a job": (line(calls=[{"room": "r"}]), "calls.job is missing"),
    "calls of another type": (line(calls={"room": "r"}), "calls is not a list"),
    "too many calls": (line(pids=[2] * 1025), "more than 1024"),
    "a count that is a flag": (line(errors={"total": True}), "errors.total is not"),
}


@pytest.mark.parametrize(("bad", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_refused_with_its_reason(bad: bytes, said: str) -> None:
    with pytest.raises(heartbeat.BadBeat, match=said.replace(".", r"\.")):
        heartbeat.decode(bad)


def test_only_v_seq_and_state_are_needed_and_unknown_keys_are_ignored() -> None:
    assert heartbeat.decode(line(novelty={"x": [1]})) == heartbeat.Beat(seq=1, state="ready")


def test_a_thread_beat_says_nothing_that_only_the_loop_may_say() -> None:
    beat = heartbeat.Beat(seq=3, state=heartbeat.READY, source=heartbeat.FROM_THREAD, errors_total=9)
    assert json.loads(heartbeat.encode(beat)) == {"v": 1, "seq": 3, "state": "ready", "source": "thread"}


def test_a_beat_over_the_limit_is_refused_by_its_writer() -> None:
    with pytest.raises(ValueError, match="over the"):
        heartbeat.encode(heartbeat.Beat(seq=1, state=heartbeat.READY, problem="x" * heartbeat.LINE_MAX))


def test_a_calls_dispatch_gets_through_and_may_be_missing():
    call = heartbeat.Call("r", "j", dispatch="AD_1")
    assert heartbeat.decode(heartbeat.encode(heartbeat.Beat(1, "ready", calls=(call,)))).calls == (call,)
    assert heartbeat.decode(b'{"v":1,"seq":1,"state":"ready","calls":[{"room":"r","job":"j"}]}').calls[0].dispatch == ""


def test_kinds_of_errors_beyond_a_few_are_one_kind_on_both_ends():
    many = {f"kind{number}": number for number in range(1000)}
    few = {f"kind{number}": number for number in range(heartbeat.KINDS_MAX)}
    expected = {**few, heartbeat.OTHER: sum(many.values()) - sum(few.values())}
    assert heartbeat.decode(line(errors={"total": 1, "by": many})).errors_by == expected
    told = json.loads(heartbeat.encode(heartbeat.Beat(1, heartbeat.READY, errors_by=many)))
    assert told["errors"]["by"] == expected


def test_providers_beyond_a_few_are_one_provider_on_both_ends():
    many = {f"p{number}": {"requests": 1.0} for number in range(100)}
    rest = 100 - heartbeat.PROVIDERS_MAX
    read = heartbeat.decode(line(usage=many)).usage
    assert len(read) == heartbeat.PROVIDERS_MAX + 1
    assert read[heartbeat.OTHER] == {"requests": rest}
    told = json.loads(heartbeat.encode(heartbeat.Beat(1, heartbeat.READY, usage=many)))
    assert told["usage"][heartbeat.OTHER] == {"requests": rest}


def test_a_name_of_any_length_is_cut_and_those_that_are_then_the_same_are_one():
    long = {"k" * 10_000 + str(number): 1 for number in range(3)}
    assert heartbeat.decode(line(errors={"by": long})).errors_by == {"k" * heartbeat.NAME_MAX: 3}


def test_a_worker_with_many_kinds_of_errors_still_tells_its_calls():
    many = {f"an error of its own, told by its message, number {number}": 1 for number in range(5000)}
    beat = heartbeat.Beat(1, heartbeat.READY, calls=(heartbeat.Call("r", "j"),), errors_by=many)
    assert heartbeat.decode(heartbeat.encode(beat)).calls == beat.calls
