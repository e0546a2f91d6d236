"""Logs speech: whole utterances of either side; at DEBUG interim transcripts, and who speaks or thinks."""

from __future__ import annotations

import logging
from typing import Any

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    ConversationItemAddedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
)
from livekit.agents.llm import ChatMessage

USER_SPEECH, AGENT_SPEECH, INTERIM = "user.speech", "agent.speech", "transcript.interim"
USER_STATE, AGENT_STATE = "user.state", "agent.state"

logger = logging.getLogger(__name__)


def log_speech(session: AgentSession[Any], *, with_text: bool) -> None:
    """Log the speech of a session: always its length, and its text, which is personal data, only `with_text`."""

    def on_item(event: ConversationItemAddedEvent) -> None:
        item = event.item
        if isinstance(item, ChatMessage) and item.role in ("user", "assistant"):
            _log_utterance(item, with_text)

    def on_transcript(event: UserInputTranscribedEvent) -> None:
        if not event.is_final:
            logger.debug("hearing", extra={"event": INTERIM, **_said(event.transcript, with_text)})

    def on_state(event: UserStateChangedEvent | AgentStateChangedEvent) -> None:
        name = USER_STATE if isinstance(event, UserStateChangedEvent) else AGENT_STATE
        logger.debug("a state has changed", extra={"event": name, "state": event.new_state, "before": event.old_state})

    session.on("user_state_changed", on_state)
    session.on("agent_state_changed", on_state)
    session.on("conversation_item_added", on_item)
    session.on("user_input_transcribed", on_transcript)


def _log_utterance(item: ChatMessage, with_text: bool) -> None:
    said = {"speech_id": item.id, **_said(item.text_content or "", with_text)}
    if item.role == "user":
        logger.info("the caller spoke", extra={"event": USER_SPEECH, **said})
    else:
        logger.info("the agent spoke", extra={"event": AGENT_SPEECH, "interrupted": bool(item.interrupted), **said})


def _said(text: str, with_text: bool) -> dict[str, Any]:
    return {"characters": len(text)} | ({"text": text} if with_text else {})
