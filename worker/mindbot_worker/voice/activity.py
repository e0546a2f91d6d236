"""The voice activity detector. Its model is loaded once, and every call of the process makes a stream of its own."""

from __future__ import annotations

import functools

from livekit.agents import vad
from livekit.plugins import silero

from mindbot_config.sections.voice import Voice


def detector(voice: Voice) -> vad.VAD:
    """As these settings want it: 80 ms of CPU the first time."""
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
