"""Clients for agents, which share the limits of `[voice]` with all calls of the host and are counted in its usage.

from livekit.plugins import deepgram, openai
from mindbot_worker import limited_deepgram_session, limited_openai_client

@server.rtc_session()
async def entrypoint(context: JobContext) -> None:
    client = limited_openai_client()
    context.add_shutdown_callback(client.close)
    session = AgentSession(
        stt=deepgram.STT(http_session=limited_deepgram_session()),
        llm=openai.LLM(client=client),
        tts=openai.TTS(client=client),
    )
"""

from __future__ import annotations

import os

import aiohttp
import openai

from mindbot_config.load import from_environ
from mindbot_worker.jobs.session_metrics import meter_of_call
from mindbot_worker.providers import deepgram_client, openai_client


def limited_openai_client() -> openai.AsyncClient:
    """An OpenAI client with the key in OPENAI_API_KEY, and `voice.openai_base_url` where that is set."""
    voice = from_environ(os.environ).voice
    return openai_client.open_client(
        api_key=os.environ.get("OPENAI_API_KEY", "").strip(),
        base_url=voice.openai_base_url or None,
        concurrency=voice.openai_concurrency,
        meter=meter_of_call(),
        patience=voice.reply_timeout,
    )


def limited_deepgram_session() -> aiohttp.ClientSession:
    """A session for Deepgram's plugin. Call this within a job: it uses the job's own, which LiveKit closes."""
    voice = from_environ(os.environ).voice
    return deepgram_client.open_session(concurrency=voice.deepgram_concurrency, meter=meter_of_call())
