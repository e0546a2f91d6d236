"""MindBot's ears, mind and voice, as the settings want them."""

from __future__ import annotations

import os
from typing import Any

from livekit.agents import AgentSession, JobContext, TurnHandlingOptions, inference, vad
from livekit.plugins import deepgram, openai

from mindbot_config.voice import Voice
from mindbot_worker.voice.openai_client import open_client

DEEPGRAM_URL = "https://api.deepgram.com/v1/listen"
_LOCAL_KEY = "local"
"""A stand-in of one's own wants a key as well, and does not look at it."""


def build_session(context: JobContext, voice: Voice, detector: vad.VAD) -> AgentSession[Any]:
    client = open_client(
        api_key=key("OPENAI_API_KEY", voice.openai_base_url),
        base_url=voice.openai_base_url or None,
        concurrency=voice.openai_concurrency,
    )

    async def close_client() -> None:
        await client.close()

    context.add_shutdown_callback(close_client)
    return AgentSession(
        vad=detector,
        stt=deepgram.STT(
            model=voice.stt_model,
            language=voice.language,
            smart_format=voice.smart_format,
            punctuate=voice.punctuate,
            api_key=key("DEEPGRAM_API_KEY", voice.deepgram_base_url),
            base_url=voice.deepgram_base_url or DEEPGRAM_URL,
        ),
        llm=openai.LLM(model=voice.llm_model, client=client),
        tts=openai.TTS(model=voice.tts_model, voice=voice.voice, client=client),
        turn_handling=_turns(voice),
    )


def key(variable: str, base_url: str) -> str:
    """The credential in `variable`; a service at a URL of one's own may do without."""
    return os.environ.get(variable, "").strip() or (_LOCAL_KEY if base_url else "")


def _turns(voice: Voice) -> TurnHandlingOptions:
    """ "model" is LiveKit's default, which runs in the job process and needs neither an account nor the network."""
    if voice.turn_detection == "model":
        return TurnHandlingOptions(turn_detection=inference.TurnDetector())
    return TurnHandlingOptions(turn_detection=voice.turn_detection)
