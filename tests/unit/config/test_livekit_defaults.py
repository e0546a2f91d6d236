"""The defaults that are LiveKit's are still LiveKit's: read from the installed source, which is slow to import."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from mindbot_config.keys import DEFAULTS
from mindbot_config.sections.voice import MIN_SILENCE_OF_MODEL


def in_source(package: str, path: str, pattern: str) -> str:
    text = Path(str(distribution(package).locate_file(path))).read_text()
    found = re.search(pattern, text, re.DOTALL)
    assert found, f"{pattern} is not in {path}"
    return str(found.group(1))


@pytest.mark.parametrize(
    ("key", "plugin", "file", "pattern"),
    [
        ("voice.min_speech_duration", "silero", "vad", r"min_speech_duration: float = ([\d.]+)"),
        ("voice.min_silence_duration", "silero", "vad", r"min_silence_duration: float = ([\d.]+)"),
        ("voice.prefix_padding_duration", "silero", "vad", r"prefix_padding_duration: float = ([\d.]+)"),
        ("voice.activation_threshold", "silero", "vad", r"activation_threshold: float = ([\d.]+)"),
        ("voice.vad_sample_rate", "silero", "vad", r"sample_rate: Literal\[8000, 16000\] = (\d+)"),
        ("voice.endpointing_ms", "deepgram", "stt", r"endpointing_ms: int = (\d+)"),
        ("voice.stt_sample_rate", "deepgram", "stt", r"\n        sample_rate: int = (\d+)"),
        ("voice.interim_results", "deepgram", "stt", r"interim_results: bool = (\w+)"),
        ("voice.filler_words", "deepgram", "stt", r"filler_words: bool = (\w+)"),
        ("voice.stt_model", "deepgram", "stt", r'model: DeepgramModels \| str = "([^"]+)"'),
        ("voice.llm_model", "openai", "llm", r'class LLM\(.*?model: str \| ChatModels = "([^"]+)"'),
        ("voice.tts_model", "openai", "tts", r'DEFAULT_MODEL = "([^"]+)"'),
    ],
)
def test_a_default_is_the_plugins_own(key: str, plugin: str, file: str, pattern: str) -> None:
    found = in_source(f"livekit-plugins-{plugin}", f"livekit/plugins/{plugin}/{file}.py", pattern)
    assert found == str(DEFAULTS[key])


def test_the_least_silence_is_what_the_turn_detector_asks_for() -> None:
    base = in_source("livekit-agents", "livekit/agents/inference/eot/base.py", r"MIN_SILENCE_DURATION_MS = (\d+)")
    added = in_source(
        "livekit-agents",
        "livekit/agents/voice/audio_recognition.py",
        r"required = \(MIN_SILENCE_DURATION_MS \+ (\d+)\) / 1000",
    )
    assert (int(base) + int(added)) / 1000 == MIN_SILENCE_OF_MODEL


def test_a_join_is_retried_as_often_as_livekit_retries_a_provider() -> None:
    found = in_source("livekit-agents", "livekit/agents/types.py", r"max_retry: int = (\d+)")
    assert int(found) == DEFAULTS["voice.connect_retries"]


def test_a_frame_of_sound_is_as_long_as_livekits() -> None:
    found = in_source("livekit-agents", "livekit/agents/voice/room_io/types.py", r"frame_size_ms: int = (\d+)")
    assert int(found) == DEFAULTS["voice.frame_ms"]
