"""A synthetic call: the whole agent but for the audio, in text, with the language model that is configured."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import Agent, AgentSession, JobContext

SCRIPT = ("Hello, can you hear me?", "What can you help me with?", "Thank you, goodbye.")
_ANSWER_WITHIN = 20.0


async def converse(context: JobContext, session: AgentSession[Any], agent: Agent, greeting: str) -> None:
    """Say each line of the script and wait for its answer; a missing one fails the call, which is what it is for."""
    await session.start(agent)
    if greeting:
        session.say(greeting)
    for line in SCRIPT:
        await asyncio.wait_for(session.run(user_input=line), _ANSWER_WITHIN)
    context.shutdown("the synthetic call is over")
