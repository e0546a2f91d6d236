"""MindBot, the agent that is served when none of your own is given: `--agent mindbot_worker.mindbot:server`.

May import `sdk`, `providers` and `jobs`, as an agent of your own may. Nothing in here is needed by other agents, and
no other folder may import it.
"""

from __future__ import annotations

import os
from typing import Any

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess
from livekit.agents.llm import ChatContext

from mindbot_config.load import from_environ
from mindbot_config.settings import Settings
from mindbot_worker.mindbot import call, speech_events
from mindbot_worker.mindbot.failed_replies import FailedReplies
from mindbot_worker.mindbot.session import build_session, detector, start_in_room
from mindbot_worker.sdk.connect_with_retry import connect_with_retry
from mindbot_worker.sdk.performance import monitor_performance
from mindbot_worker.sdk.recovered_conversation import recovered_conversation
from mindbot_worker.sdk.robust_entrypoint import robust_entrypoint
from mindbot_worker.sdk.watch_audio import watch_audio

SETTINGS, _VAD = "mindbot.settings", "mindbot.vad"


@monitor_performance(slow_after=5.0)
def prepare(process: JobProcess) -> None:
    """Once in each job process, before its call: read the settings, load the voice activity detector."""
    settings = from_environ(os.environ)
    process.userdata[SETTINGS] = settings
    process.userdata[_VAD] = detector(settings.voice)


server = AgentServer(setup_fnc=prepare, preload_modules=["mindbot_worker.mindbot.preload"])


@server.rtc_session()
@robust_entrypoint
@monitor_performance(slow_after=5.0)
async def converse(context: JobContext) -> None:
    """One call, from the greeting until the caller has left."""
    settings: Settings = context.proc.userdata[SETTINGS]
    if context.is_fake_job():
        await call.converse(context, *_prepared(context, settings, None), settings.voice.greeting)
        return
    await connect_with_retry(context, retries=settings.voice.connect_retries)
    call.end_when_left(context)
    # what follows takes CPU that several calls which begin at once would rather use to join their rooms
    history = recovered_conversation()
    session, agent = _prepared(context, settings, history)
    excuses = FailedReplies(context, session, settings.voice)
    watch_audio(session, deaf_after=settings.voice.deaf_after, on_deaf=excuses.say)
    await start_in_room(session, agent, context, settings.voice)
    call.greet(session, settings, history)


def _prepared(context: JobContext, settings: Settings, history: ChatContext | None) -> tuple[AgentSession[Any], Agent]:
    session = build_session(context, settings.voice, context.proc.userdata[_VAD])
    speech_events.log_speech(session, with_text=settings.log.log_transcripts)
    call.end_with_session(context, session)
    return session, Agent(instructions=settings.voice.instructions, chat_ctx=history)
