"""MindBot, the agent that is served when none of your own is given: `--agent mindbot_worker.voice:server`."""

from __future__ import annotations

import os

from livekit.agents import Agent, AgentServer, JobContext, JobProcess
from livekit.plugins import silero

from mindbot_config.settings import Settings
from mindbot_config.sources import from_environ
from mindbot_worker.hearing.watching import watch_audio
from mindbot_worker.performance import monitor_performance
from mindbot_worker.recovered import recovered_conversation
from mindbot_worker.robust.connecting import connect_with_retry
from mindbot_worker.robust.entrypoint import robust_entrypoint
from mindbot_worker.voice import events, opening, room, trial
from mindbot_worker.voice.excuse import excuse_failures
from mindbot_worker.voice.session import build_session
from mindbot_worker.voice.start import start_in_room

_SETTINGS, _VAD = "mindbot.settings", "mindbot.vad"


@monitor_performance(slow_after=5.0)
def prepare(process: JobProcess) -> None:
    """Once in each job process, before its call: read the settings, load the voice activity detector."""
    settings = from_environ(os.environ)
    process.userdata[_SETTINGS] = settings
    process.userdata[_VAD] = silero.VAD.load(
        min_speech_duration=settings.voice.min_speech_duration,
        min_silence_duration=settings.voice.min_silence_duration,
        prefix_padding_duration=settings.voice.prefix_padding_duration,
        activation_threshold=settings.voice.activation_threshold,
        sample_rate=8000 if settings.voice.vad_sample_rate == 8000 else 16000,
    )


server = AgentServer(setup_fnc=prepare)


@server.rtc_session()
@robust_entrypoint
@monitor_performance(slow_after=5.0)
async def converse(context: JobContext) -> None:
    """One call, from the greeting until the caller has left."""
    settings: Settings = context.proc.userdata[_SETTINGS]
    session = build_session(context, settings.voice, context.proc.userdata[_VAD])
    events.log_speech(session, with_text=settings.log.log_transcripts)
    room.end_with_session(context, session)
    history = recovered_conversation()
    agent = Agent(instructions=settings.voice.instructions, chat_ctx=history)
    if context.is_fake_job():
        await trial.converse(context, session, agent, settings.voice.greeting)
        return
    watch_audio(session, deaf_after=settings.voice.deaf_after)
    excuse_failures(context, session, settings.voice)
    await connect_with_retry(context, retries=settings.voice.connect_retries)
    room.end_when_left(context)
    await start_in_room(session, agent, context, settings.voice)
    opening.open_with(session, settings, history)
