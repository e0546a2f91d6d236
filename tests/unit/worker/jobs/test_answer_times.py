"""What is told of the turns of a call: LiveKit's own messages and speeches in, one summary out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from livekit.agents.llm import AgentHandoff, ChatMessage
from livekit.agents.voice import SpeechHandle

from mindbot_worker.jobs.answer_times import AGENT_TURN, TurnTimes
from mindbot_worker.protocol import heartbeat


class Told(dict[str, Any]):
    """What a reporter was told so far."""

    def __call__(self, **summary: Any) -> None:
        self.update(summary)


def user(delay: float | None = 0.6) -> ChatMessage:
    return ChatMessage(role="user", content=["hello"], metrics={} if delay is None else {"end_of_turn_delay": delay})


def agent(response: float | None = 1.5, *, interrupted: bool = False) -> ChatMessage:
    metrics: Any = {"llm_node_ttft": 0.3, "tts_node_ttfb": 0.2, "started_speaking_at": 1e9}
    if response is not None:
        metrics["e2e_latency"] = response
    return ChatMessage(role="assistant", content=["secret"], interrupted=interrupted, metrics=metrics)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    caplog.set_level(logging.DEBUG)
    return lambda: [vars(record) for record in caplog.records if getattr(record, "event", "") == AGENT_TURN]


def test_a_turn_tells_how_long_each_step_took(lines: Callable[[], list[dict[str, Any]]]) -> None:
    turns = TurnTimes(Told())
    turns.item_added(user(0.6))
    turns.item_added(agent(1.5))
    (line,) = lines()
    steps = {name: line[name] for name in ("end_of_turn", "llm_first_token", "tts_first_byte", "response")}
    assert steps == {"end_of_turn": 0.6, "llm_first_token": 0.3, "tts_first_byte": 0.2, "response": 1.5}
    assert line["interrupted"] is False and "secret" not in str(line)


def test_a_greeting_answers_nobody(lines: Callable[[], list[dict[str, Any]]]) -> None:
    turns, told = TurnTimes(summary := Told()), lines
    turns.item_added(agent(None))
    turns.item_added(AgentHandoff(new_agent_id="other"))
    assert "response" not in told()[0] and "response_p50" not in summary
    turns.item_added(user(None))
    turns.item_added(agent(2.0))
    assert "end_of_turn" not in told()[1] and told()[1]["response"] == 2.0


def test_percentiles_of_a_long_call_are_close_and_its_summary_small() -> None:
    turns = TurnTimes(summary := Told())
    for number in range(1, 1001):
        turns.item_added(user(number / 2000))
        turns.item_added(agent(number / 100))
    assert summary["turns"] == 1000
    assert summary["response_p50"] == pytest.approx(5.0, rel=0.02)
    assert summary["response_p95"] == pytest.approx(9.5, rel=0.02)
    assert summary["end_of_turn_p95"] == pytest.approx(0.475, rel=0.02)
    assert heartbeat.is_summary(dict(summary)) and len(summary) == 12


async def spoken(
    turns: TurnTimes,
    *,
    heard: bool = True,
    interrupted: bool = False,
    items: tuple[ChatMessage, ...] = (),
    scheduled: bool = True,
) -> None:
    """The life of one speech, as LiveKit leads it."""
    speech = SpeechHandle.create()
    turns.speech_created(speech)
    if scheduled:
        speech._mark_scheduled()
    if heard:
        turns.speaking(speech)
    if interrupted:
        speech.interrupt()
    speech._item_added(list(items))
    speech._mark_done()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("speech", "counts"),
    [
        ({"items": (agent(),)}, (1, 0, 0)),
        ({}, (1, 0, 0)),  # said without becoming a part of the conversation
        ({"heard": False}, (1, 0, 1)),
        ({"heard": False, "items": (agent(),)}, (1, 0, 0)),  # a session of text has no sound
        ({"interrupted": True}, (1, 1, 0)),
        ({"heard": False, "interrupted": True}, (1, 1, 0)),
        ({"heard": False, "scheduled": False}, (0, 0, 0)),  # prepared in vain
    ],
)
def test_replies_that_were_interrupted_or_had_no_sound(speech: dict[str, Any], counts: tuple[int, int, int]) -> None:
    turns = TurnTimes(summary := Told())

    async def call() -> None:
        await spoken(turns, **speech)

    asyncio.run(call())
    assert (summary.get("replies", 0), summary.get("interrupted", 0), summary.get("unspoken", 0)) == counts
