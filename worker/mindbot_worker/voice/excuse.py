"""A reply that failed is not followed by silence: the caller is asked again, and not for ever."""

from __future__ import annotations

import contextlib
from typing import Any

from livekit.agents import AgentSession, ConversationItemAddedEvent, ErrorEvent, JobContext

from mindbot_config.voice import Voice
from mindbot_worker.robust.failing import Terms, fail_soon

_OF_A_REPLY = ("llm_error", "tts_error")
"""Speech recognition is tried again by LiveKit without anybody's help."""


def excuse_failures(context: JobContext, session: AgentSession[Any], voice: Voice) -> None:
    """After each failed reply say `voice.excuse`; after `voice.failed_replies` of them in a row end the call. Where the
    voice is what failed, the excuse is its next trial.
    """
    in_a_row = 0

    def on_error(event: ErrorEvent) -> None:
        nonlocal in_a_row
        error = event.error
        if error.recoverable or error.type not in _OF_A_REPLY:
            return
        in_a_row += 1
        if in_a_row >= voice.failed_replies:
            fail_soon(context, error, Terms(voice.apology, voice.on_failure), session)
        elif voice.excuse:
            with contextlib.suppress(RuntimeError):  # the session is closing
                # no part of the conversation: to the model there was no reply
                session.say(voice.excuse, add_to_chat_ctx=False)

    def on_item(event: ConversationItemAddedEvent) -> None:
        nonlocal in_a_row
        if getattr(event.item, "role", "") == "assistant":
            in_a_row = 0

    session.on("error", on_error)
    session.on("conversation_item_added", on_item)
