"""How sure the recogniser is: what it should know lies well under its limit, all else well above."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from functional.local.sounds import RATE, WAYS, Samples
from live.caller import load_phrases
from live.livekit import PHRASES
from mindbot_worker.standins.recogniser import MATCH_MAX, BadPhraseBook, Floats, PhraseBook
from mindbot_worker.standins.speech_synthesis import RATE as VOICE_RATE
from mindbot_worker.standins.speech_synthesis import Voice, speak

SPOKEN = load_phrases()


@pytest.fixture(scope="module")
def book() -> PhraseBook:
    return PhraseBook.load(PHRASES)


def floats(samples: Samples) -> Floats:
    return samples.astype(np.float32) / np.float32(32768)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", SPOKEN)
def test_a_phrase_is_known_with_room_to_spare(book: PhraseBook, text: str, way: str) -> None:
    match = book.nearest(floats(WAYS[way](SPOKEN[text])), RATE)
    assert match is not None
    print(f"{text} {way}: {match.cost:.2f}, the next {match.runner_up:.2f}")
    assert match.text == text
    assert match.complete
    assert match.cost < MATCH_MAX - 0.5
    assert match.runner_up > MATCH_MAX + 1.0


@pytest.mark.parametrize("text", SPOKEN)
@pytest.mark.parametrize("voice", ["ash", "fable", "nova"])
def test_the_stand_in_voice_is_not_taken_for_a_caller(book: PhraseBook, text: str, voice: str) -> None:
    match = book.nearest(np.concatenate(list(speak(text, Voice.named(voice)))), VOICE_RATE)
    assert match is None or match.cost > MATCH_MAX + 0.5


@pytest.mark.parametrize(
    "sound",
    [
        np.random.default_rng(3).normal(0, 0.1, 2 * RATE),
        0.2 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE),
        SPOKEN["Thank you and goodbye"][::-1] / 32768,
    ],
    ids=["noise", "tone", "backwards"],
)
def test_other_sound_is_far_from_every_phrase(book: PhraseBook, sound: Floats) -> None:
    match = book.nearest(sound.astype(np.float32), RATE)
    assert match is not None
    assert match.cost > MATCH_MAX + 1.0


def test_nothing_is_known_of_silence_or_by_an_empty_book(book: PhraseBook) -> None:
    assert book.nearest(np.zeros(RATE, np.float32), RATE) is None
    assert PhraseBook([]).nearest(floats(SPOKEN["Thank you and goodbye"]), RATE) is None


@pytest.mark.parametrize(
    "entries",
    [[{"text": "no wav"}], [{"text": "gone", "wav": "gone.wav"}], {"text": 1}, [{"text": "a", "wav": "a", "end": "b"}]],
)
def test_a_phrase_book_that_cannot_be_used_says_why(tmp_path: Path, entries: object) -> None:
    path = tmp_path / "book.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(BadPhraseBook, match=r"cannot|seconds"):
        PhraseBook.load(path)
