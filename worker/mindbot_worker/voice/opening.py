"""The first words of a call: the greeting, or, in a call that goes on with a new agent, an excuse and what was owed."""

from __future__ import annotations

from typing import Any

from livekit.agents import AgentSession
from livekit.agents.llm import ChatContext, ChatMessage

from mindbot_config.settings import Settings
from mindbot_worker.performance import monitor_performance


@monitor_performance(name="greeting", slow_after=0.2)
def open_with(session: AgentSession[Any], settings: Settings, history: ChatContext | None) -> None:
    """`history` is what was said before, or None in a new call."""
    if history is None:
        if settings.voice.greeting:
            session.say(settings.voice.greeting)
        return
    if settings.recovery.sentence:
        # no part of the conversation: to the model, the one before never left
        session.say(settings.recovery.sentence, add_to_chat_ctx=False)
    if is_unanswered(history):
        session.generate_reply()


def is_unanswered(history: ChatContext) -> bool:
    """Whether the caller spoke last, and waits."""
    said = [item for item in history.items if isinstance(item, ChatMessage)]
    return bool(said) and said[-1].role == "user"
