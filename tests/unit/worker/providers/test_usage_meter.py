"""What is counted of the providers, in the job, on the way, and in the worker's book."""

from __future__ import annotations

import pytest
from livekit.agents.metrics import LLMModelUsage, STTModelUsage, TTSModelUsage

from mindbot_worker.protocol import heartbeat
from mindbot_worker.protocol.job_reports import Report, decode, encode
from mindbot_worker.providers.usage_meter import UsageMeter
from mindbot_worker.runtime.call_records import CallRecords, StartedCall


def test_a_meter_adds_what_livekit_tells_to_what_it_counts_itself() -> None:
    changes: list[None] = []
    meter = UsageMeter(lambda: changes.append(None))
    meter.name_host("127.0.0.1:8000", "openai")
    meter.count("openai", requests=1)
    used = [
        LLMModelUsage(provider="127.0.0.1:8000", model="gpt", input_tokens=10, output_tokens=4),
        TTSModelUsage(provider="api.openai.com", model="tts", characters_count=30, audio_duration=2.5),
        STTModelUsage(provider="Deepgram", model="nova", audio_duration=8.25),
    ]
    meter.session(0, used)
    meter.session(0, used)  # all that a session has used, not what is new
    meter.session(1, used[:1])
    assert meter.totals() == {
        "openai": {"requests": 1, "tokens_in": 20, "tokens_out": 8, "characters": 30},
        "deepgram": {"audio_seconds": 8.25},
    }
    assert len(changes) == 4


def test_the_worker_adds_up_its_calls_and_keeps_what_ended_ones_used() -> None:
    calls = CallRecords(0)
    for job in "ab":
        calls.opened(StartedCall("room", job, "", None, 0.0), 0)
    for seq, requests in enumerate((1, 3, 3)):
        calls.reported(Report("a", seq, usage={"openai": {"requests": requests}}), 1)
    calls.closed("a", died=True, now=2)
    calls.reported(Report("b", 0, usage={"openai": {"requests": 2, "waited": 0.5}}), 3)
    assert calls.usage == {"openai": {"requests": 5, "waited": 0.5}}


def test_usage_travels_with_report_and_heartbeat() -> None:
    usage = {"openai": {"requests": 5, "waited": 0.25}}
    report = Report("a", 1, usage=usage)
    assert decode(encode(report)) == report
    beat = heartbeat.Beat(1, heartbeat.READY, usage=usage)
    assert heartbeat.decode(heartbeat.encode(beat)).usage == usage
    assert b"usage" not in heartbeat.encode(heartbeat.Beat(1, heartbeat.READY))


def test_of_a_later_version_only_what_is_known_is_read() -> None:
    line = b'{"v":1,"seq":1,"state":"ready","usage":{"openai":{"requests":2,"dreams":7,"errors":-1}}}'
    assert heartbeat.decode(line).usage == {"openai": {"requests": 2, "errors": 0}}


@pytest.mark.parametrize("usage", ['{"openai":3}', "[]", '{"openai":{"requests":"many"}}', "7"])
def test_a_beat_with_another_shape_is_refused(usage: str) -> None:
    with pytest.raises(heartbeat.BadBeat, match="usage"):
        heartbeat.decode(f'{{"v":1,"seq":1,"state":"ready","usage":{usage}}}'.encode())


def test_of_a_beat_with_many_providers_the_first_are_read_and_the_rest_is_other() -> None:
    many = {f"p{n}": {"requests": 1.0} for n in range(20)}
    read = heartbeat.decode(heartbeat.encode(heartbeat.Beat(1, heartbeat.READY, usage=many))).usage
    assert list(read) == [*(f"p{n}" for n in range(16)), heartbeat.OTHER]
    assert read[heartbeat.OTHER] == {"requests": 4}


@pytest.mark.parametrize("usage", [{"x": 1}, {"x": {"requests": -1}}, {"x": {"other": 1}}, {"x" * 65: {}}, []])
def test_a_report_with_another_shape_is_ignored(usage: object) -> None:
    assert decode(encode(Report("a", 1, usage=usage))) is None  # type: ignore[arg-type]
