"""The start of MindBot's session in its room."""

from __future__ import annotations

from typing import Any

from livekit.agents import Agent, AgentSession, JobContext
from livekit.agents.voice.room_io import AudioInputOptions, RoomOptions

from mindbot_config.sections.voice import Voice
from mindbot_worker.performance import monitor_performance


@monitor_performance(name="session.start", slow_after=2.0)
async def start_in_room(session: AgentSession[Any], agent: Agent, context: JobContext, voice: Voice) -> None:
    """Returns when the session listens; the caller may come later."""
    options = RoomOptions(audio_input=AudioInputOptions(frame_size_ms=voice.frame_ms))
    await session.start(agent, room=context.room, room_options=options)
