"""How MindBot itself hears, thinks and speaks; agents of your own need none of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mindbot_config.fields import OptionalUrl
from mindbot_config.limits import Section

MIN_SILENCE_OF_MODEL = 0.25
"""Below this LiveKit's turn detector refuses the VAD, and the job dies as it starts:
`_check_vad_silence_requirement` in livekit/agents/voice/audio_recognition.py (1.8.9)."""


class Voice(Section):
    """How MindBot hears, thinks and speaks. Agents of your own (`pool.agent`) do not read this section."""

    stt_model: str = Field(default="nova-3", min_length=1)
    """Deepgram model that turns the caller's speech into text (the plugin's default)."""
    language: str = Field(default="en", min_length=1)
    """Language the caller speaks, as Deepgram writes it: "en", "en-GB", "de", "multi"."""
    smart_format: bool = True
    """Deepgram writes numbers, dates and the like as a reader expects them."""
    punctuate: bool = True
    """Deepgram sets punctuation marks; the turn detector works better with them."""
    llm_model: str = Field(default="gpt-4.1", min_length=1)
    """OpenAI model that answers (the plugin's default). A smaller one is cheaper, and sooner to begin its answer."""
    tts_model: str = Field(default="gpt-4o-mini-tts", min_length=1)
    """OpenAI model that speaks (the plugin's default)."""
    voice: str = Field(default="fable", min_length=1)
    """OpenAI voice that speaks: alloy, ash, ballad, coral, echo, fable, nova, onyx, sage or shimmer."""
    min_speech_duration: float = Field(default=0.05, ge=0, le=5)
    """Seconds of sound before it counts as speech (Silero's default). Raise it where noise interrupts the agent."""
    min_silence_duration: float = Field(default=0.55, gt=0, le=10)
    """Seconds of silence that end the caller's speech (Silero's default). Lower answers sooner, and interrupts
    callers who pause. LiveKit's turn detector needs at least 0.25."""
    turn_detection: Literal["model", "vad", "stt", "manual"] = "model"
    """What decides that the caller is done. "model": LiveKit's default turn detector, which runs locally in the job
    and needs no account; it takes about 240 MiB, shared by all workers. "vad": silence alone (any
    `min_silence_duration`). "stt": Deepgram's end of speech. "manual": nothing; your own client ends the turns."""
    greeting: str = "Hello, this is MindBot. How can I help you?"
    """What the agent says first; empty: it waits for the caller."""
    instructions: str = (
        "You are MindBot, a friendly and helpful voice assistant. You are on a live call: answer in one to three "
        "short spoken sentences, without lists, markup or emoji. Ask back when you did not understand, and say so "
        "when you do not know."
    )
    """The system prompt. What is spoken should be short: long answers are long to wait for."""
    openai_concurrency: int = Field(default=5, ge=1, le=1000)
    """Requests to OpenAI at one time, of all calls of this daemon together (the guide's 5); further ones wait their
    turn. Raise it with the number of calls, lower it when OpenAI answers 429."""
    connect_retries: int = Field(default=3, ge=0, le=20)
    """How often a job tries to connect to its room again, after 1, 2, 4 … seconds (the guide's 3)."""
    openai_base_url: OptionalUrl = Field(default="", repr=False)
    """Base URL of an OpenAI-compatible service, with its /v1; empty: OpenAI's own."""
    deepgram_base_url: OptionalUrl = Field(default="", repr=False)
    """URL of a Deepgram-compatible service, with its /v1/listen; empty: Deepgram's own."""
