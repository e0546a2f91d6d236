"""MindBot itself, with the local stand-ins for its providers and no caller."""

from __future__ import annotations

from typing import Any

import pytest

from functional.worker.conftest import KEY
from mindbot_worker.protocol import heartbeat


@pytest.mark.parametrize(("detection", "silence"), [("vad", "0.1"), ("model", "0.55")])
def test_a_synthetic_call_is_a_whole_conversation(
    start_worker: Any, providers: dict[str, str], detection: str, silence: str
) -> None:
    worker = start_worker(
        agent="mindbot_worker.mindbot:server",
        MINDBOT_VOICE__TURN_DETECTION=detection,
        MINDBOT_VOICE__MIN_SILENCE_DURATION=silence,
        MINDBOT_VOICE__GREETING="Good day.",
        **providers,
    )
    assert worker.beat(lambda b: b.calls).calls[0].room.startswith("synthetic-")
    ended = worker.beat(lambda b: b.ended)
    assert ended.ended[0].outcome == heartbeat.COMPLETED and ended.errors_total == 0
    users, agents = worker.records("user.speech"), worker.records("agent.speech")
    assert len(users) == 3 and len(agents) == 4
    assert all(record["characters"] > 0 and "text" not in record and record["room"] for record in users + agents)
    assert agents[0]["interrupted"] is False
    assert "Good day" not in "".join(worker.out) and KEY not in "".join(worker.out + worker.err)


def test_text_is_in_the_log_where_the_settings_say_so(start_worker: Any, providers: dict[str, str]) -> None:
    worker = start_worker(
        agent="mindbot_worker.mindbot:server",
        MINDBOT_VOICE__TURN_DETECTION="vad",
        MINDBOT_LOG__LOG_TRANSCRIPTS="true",
        MINDBOT_VOICE__GREETING="Good day.",
        **providers,
    )
    worker.wait(lambda: [record for record in worker.records("agent.speech") if record["text"] == "Good day."])


def test_a_provider_that_is_down_fails_the_synthetic_call(start_worker: Any, providers: dict[str, str]) -> None:
    worker = start_worker(
        agent="mindbot_worker.mindbot:server",
        MINDBOT_VOICE__TURN_DETECTION="vad",
        **providers | {"MINDBOT_VOICE__OPENAI_BASE_URL": "http://127.0.0.1:1/v1"},
    )
    worker.beat(lambda b: b.errors_by.get("llm"))
    ended = worker.beat(lambda b: b.ended)
    assert ended.ended[0].outcome == heartbeat.FAILED and ended.errors_by["job"] == 1
