"""Begins and ends a call of MindBot: the greeting, the end when the caller has left, and synthetic calls in text."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, CloseEvent, CloseReason, JobContext
from livekit.agents.llm import ChatContext, ChatMessage

from mindbot_config.settings import Settings
from mindbot_worker.sdk import call_failure
from mindbot_worker.sdk.performance import monitor_performance


@monitor_performance(name="greeting", slow_after=0.2)
def greet(session: AgentSession[Any], settings: Settings, history: ChatContext | None) -> None:
    """Greet the caller, or go on with a recovered call. `history` is what was said before, None in a new call."""
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


_CALLER_RETURNS_WITHIN = 20.0
"""Seconds for a caller whose network broke to come back."""


def end_with_session(context: JobContext, session: AgentSession[Any]) -> None:
    """A session that closed, because the caller left, ends the job; otherwise LiveKit keeps both room and job.

    One that closed because of an error has a caller still, of whom `robust_entrypoint` takes care.
    """

    def on_close(event: CloseEvent) -> None:
        if event.reason is not CloseReason.ERROR and not call_failure.is_failing(context):
            context.shutdown(f"session closed: {event.reason.value}")

    session.on("close", on_close)


def end_when_left(context: JobContext) -> None:
    """The session only ends by itself when the caller hangs up; a lost connection ends the call a little later."""

    def on_left(_: rtc.RemoteParticipant) -> None:
        if not _callers(context.room):
            asyncio.get_running_loop().call_later(_CALLER_RETURNS_WITHIN, end_if_empty)

    def end_if_empty() -> None:
        if not _callers(context.room):
            context.shutdown("the caller has left")

    context.room.on("participant_disconnected", on_left)


def _callers(room: rtc.Room) -> list[rtc.RemoteParticipant]:
    agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    return [each for each in room.remote_participants.values() if each.kind != agent]


SCRIPT = ("Hello, can you hear me?", "What can you help me with?", "Thank you, goodbye.")
_ANSWER_WITHIN = 20.0


async def converse(context: JobContext, session: AgentSession[Any], agent: Agent, greeting: str) -> None:
    """Say each line of the script and wait for its answer; a missing answer fails the call, which is its purpose."""
    await session.start(agent)
    if greeting:
        session.say(greeting)
    for line in SCRIPT:
        await asyncio.wait_for(session.run(user_input=line), _ANSWER_WITHIN)
    context.shutdown("the synthetic call is over")
