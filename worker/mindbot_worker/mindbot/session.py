"""Builds MindBot's session by the settings: voice activity detection, recognition, language model, synthesis."""

from __future__ import annotations

import functools
import os
from typing import Any

from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentSession,
    APIConnectOptions,
    JobContext,
    TurnHandlingOptions,
    inference,
    vad,
)
from livekit.agents.voice.agent_session import SessionConnectOptions
from livekit.agents.voice.room_io import AudioInputOptions, RoomOptions
from livekit.plugins import deepgram, openai, silero

from mindbot_config.sections.voice import Voice
from mindbot_worker.jobs.session_metrics import meter_of_call
from mindbot_worker.providers import deepgram_client, fallbacks, openai_client
from mindbot_worker.providers.fallbacks import LanguageModel, SpeechRecognition, SpeechSynthesis
from mindbot_worker.providers.usage_meter import UsageMeter
from mindbot_worker.sdk.performance import monitor_performance


def detector(voice: Voice) -> vad.VAD:
    """The voice activity detector with these settings; loading it takes 80 ms of CPU the first time."""
    return _load(
        voice.min_speech_duration,
        voice.min_silence_duration,
        voice.prefix_padding_duration,
        voice.activation_threshold,
        voice.vad_sample_rate,
    )


@functools.cache
def _load(speech: float, silence: float, padding: float, threshold: float, rate: int) -> vad.VAD:
    return silero.VAD.load(
        min_speech_duration=speech,
        min_silence_duration=silence,
        prefix_padding_duration=padding,
        activation_threshold=threshold,
        sample_rate=8000 if rate == 8000 else 16000,
    )


DEEPGRAM_URL = "https://api.deepgram.com/v1/listen"
_LOCAL_KEY = "local"
"""The key for a service at a URL of one's own, which wants one and does not check it."""


@monitor_performance
def build_session(context: JobContext, voice: Voice, detector: vad.VAD) -> AgentSession[Any]:
    meter = meter_of_call()
    stt, llm, tts = _speech_recognition(voice, meter), *_model_and_voice(context, voice, meter)
    for each in (stt, llm, tts):
        context.add_shutdown_callback(each.aclose)
    reply = APIConnectOptions(max_retry=voice.reply_retries)
    patience = SessionConnectOptions(llm_conn_options=reply, tts_conn_options=reply)
    return AgentSession(vad=detector, stt=stt, llm=llm, tts=tts, turn_handling=_turns(voice), conn_options=patience)


def _speech_recognition(voice: Voice, meter: UsageMeter) -> SpeechRecognition:
    session = deepgram_client.open_session(concurrency=voice.deepgram_concurrency, meter=meter)

    def make(model: str) -> SpeechRecognition:
        return deepgram.STT(
            model=model,
            language=voice.language,
            smart_format=voice.smart_format,
            punctuate=voice.punctuate,
            interim_results=voice.interim_results,
            endpointing_ms=voice.endpointing_ms,
            filler_words=voice.filler_words,
            numerals=voice.numerals,
            profanity_filter=voice.profanity_filter,
            # the plugin raises for a model that does not know them
            keyterm=list(voice.keyterms) if voice.keyterms and model.startswith("nova-3") else NOT_GIVEN,
            redact=list(voice.redact) if voice.redact else NOT_GIVEN,
            mip_opt_out=voice.mip_opt_out,
            sample_rate=voice.stt_sample_rate,
            api_key=key("DEEPGRAM_API_KEY", voice.deepgram_base_url),
            base_url=voice.deepgram_base_url or DEEPGRAM_URL,
            http_session=session,
        )

    return fallbacks.speech_recognition((voice.stt_model, *voice.stt_fallbacks), make)


def _model_and_voice(context: JobContext, voice: Voice, meter: UsageMeter) -> tuple[LanguageModel, SpeechSynthesis]:
    client = openai_client.open_client(
        api_key=key("OPENAI_API_KEY", voice.openai_base_url),
        base_url=voice.openai_base_url or None,
        concurrency=voice.openai_concurrency,
        meter=meter,
        patience=voice.reply_timeout,
    )
    context.add_shutdown_callback(client.close)
    return (
        fallbacks.language_model(
            (voice.llm_model, *voice.llm_fallbacks), lambda model: openai.LLM(model=model, client=client)
        ),
        fallbacks.speech_synthesis(
            (voice.tts_model, *voice.tts_fallbacks),
            lambda model: openai.TTS(model=model, voice=voice.voice, client=client),
        ),
    )


def key(variable: str, base_url: str) -> str:
    """The credential in `variable`; a service at a URL of one's own may do without."""
    return os.environ.get(variable, "").strip() or (_LOCAL_KEY if base_url else "")


def _turns(voice: Voice) -> TurnHandlingOptions:
    """ "model" is LiveKit's default, which runs in the job process and needs neither an account nor the network."""
    if voice.turn_detection == "model":
        return TurnHandlingOptions(turn_detection=inference.TurnDetector())
    return TurnHandlingOptions(turn_detection=voice.turn_detection)


@monitor_performance(name="session.start", slow_after=2.0)
async def start_in_room(session: AgentSession[Any], agent: Agent, context: JobContext, voice: Voice) -> None:
    """Returns when the session listens; the caller may come later."""
    options = RoomOptions(audio_input=AudioInputOptions(frame_size_ms=voice.frame_ms))
    await session.start(agent, room=context.room, room_options=options)
