"""Measures how soon the agent answers in each turn of a call, and counts interrupted and unspoken replies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from livekit.agents.llm import ChatMessage
from livekit.agents.voice import SpeechHandle

from mindbot_worker.jobs.function_timings import Percentiles

AGENT_TURN = "agent.turn"

_END_OF_TURN = "end_of_turn"
_OF_REPLY = {"llm_node_ttft": "llm_first_token", "tts_node_ttfb": "tts_first_byte", "e2e_latency": "response"}
"""LiveKit's metrics of an assistant's message, and what they are called here, in seconds. `response` is the whole from
the end of the caller's speech to the agent's first sound: less than the sum of the steps, where LiveKit prepares the
answer while it waits for the end of the turn."""

logger = logging.getLogger(__name__)


class TurnTimes:
    """Takes the events of a call's sessions, logs each turn of the agent, and keeps the call's summary up to date."""

    def __init__(self, summarise: Callable[..., None]) -> None:
        self._summarise = summarise
        self._seconds = {name: Percentiles() for name in (_END_OF_TURN, *_OF_REPLY.values())}
        self._turns = self._replies = self._interrupted = self._unspoken = 0
        self._waiting: dict[str, float] = {}
        self._spoken: set[str] = set()

    def item_added(self, item: Any) -> None:
        """An item was added to the conversation."""
        if not isinstance(item, ChatMessage):
            return
        metrics: Mapping[str, Any] = item.metrics
        if item.role == "user":
            self._turns += 1
            delay = metrics.get("end_of_turn_delay")
            self._waiting = {} if delay is None else {_END_OF_TURN: delay}
        elif item.role == "assistant":
            told = {name: metrics[key] for key, name in _OF_REPLY.items() if metrics.get(key) is not None}
            if "response" in told:
                told |= self._waiting  # this reply is the answer to what the caller said last
                self._waiting = {}
            self._answered(item, told)

    def speech_created(self, speech: SpeechHandle) -> None:
        """A speech of the agent was created."""
        speech.add_done_callback(self._done)

    def speaking(self, speech: SpeechHandle | None) -> None:
        """The agent can be heard with this speech."""
        if speech is not None:
            self._spoken.add(speech.id)

    def _answered(self, item: ChatMessage, seconds: Mapping[str, float]) -> None:
        for name, value in seconds.items():
            self._seconds[name].add(value)
        told = {name: round(value, 3) for name, value in seconds.items()}
        logger.info(
            "the agent's turn",
            extra={"event": AGENT_TURN, "speech_id": item.id, "interrupted": bool(item.interrupted), **told},
        )
        self._tell()

    def _done(self, speech: SpeechHandle) -> None:
        """Count a speech that is over. (One that nobody heard is not added to the conversation.)"""
        heard = speech.id in self._spoken
        self._spoken.discard(speech.id)
        if not speech.scheduled:
            return  # prepared for a sentence that went on
        self._replies += 1
        self._interrupted += speech.interrupted
        if not (heard or speech.interrupted or speech.chat_items):
            self._unspoken += 1
            logger.warning(
                "a reply without a sound",
                extra={"event": AGENT_TURN, "speech_id": speech.id, "interrupted": False, "unspoken": True},
            )
        self._tell()

    def _tell(self) -> None:
        percentiles = {
            f"{name}_p{percent}": round(value, 3)
            for name, seconds in self._seconds.items()
            for percent in (50, 95)
            if (value := seconds.at(percent)) is not None
        }
        self._summarise(
            turns=self._turns,
            replies=self._replies,
            interrupted=self._interrupted,
            unspoken=self._unspoken,
            **percentiles,
        )
