"""Recognition of a few known phrases: each is compared with what was heard, by dynamic time warping over spectra."""

from __future__ import annotations

import io
import json
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mindbot_config.read_file import read_regular
from mindbot_worker.local.features import HOP_SECONDS, Floats, features, trimmed

MATCH_MAX = 5.5
"""The most a phrase may differ per frame and still count. The same recording, through codecs, filters and noise,
comes to 0 to 4; other words, and the same words in another voice, to more than 6."""
LONGEST_SECONDS = 12.0
WAV_MAX = 64 * 1024 * 1024
"""Bytes of one recording."""

# Speech may be up to half as slow or twice as fast as its recording, but pays for leaving its own speed.
_WARP_COST = 0.3
_EDGE_FRAMES = 8
_SILENCE = 0.001


class BadPhraseBook(ValueError):
    """A phrase book that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Phrase:
    text: str
    shape: Floats
    seconds: float


@dataclass(frozen=True, slots=True)
class Match:
    """The phrase nearest to what was heard. `cost` is its distance per frame, `heard` how much of it, from 0 to 1."""

    text: str
    cost: float
    heard: float
    runner_up: float

    @property
    def sure(self) -> bool:
        return self.cost <= MATCH_MAX

    @property
    def complete(self) -> bool:
        return self.sure and self.heard >= 0.93

    def words_heard(self) -> str:
        """The beginning of the phrase, as far as it was spoken: what an interim result shows."""
        words = self.text.split()
        ends = np.cumsum([len(word) + 1 for word in words]) / (len(self.text) + 1)
        return " ".join(word for word, end in zip(words, ends, strict=True) if end <= self.heard + 0.03)


class PhraseBook:
    def __init__(self, phrases: list[Phrase]) -> None:
        self.phrases = phrases

    @classmethod
    def load(cls, path: Path | None) -> PhraseBook:
        """Reads the phrases in a JSON file beside its WAV files; without a file, the book is empty."""
        if path is None:
            return cls([])
        try:
            entries = json.loads(read_regular(path).data)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise BadPhraseBook(f"cannot use the phrase book {path}: it is not a list of objects")
            return cls([_phrase(path.parent, entry) for entry in entries])
        except OSError as exc:
            raise BadPhraseBook(f"cannot read the phrase book: {exc}") from exc
        except BadPhraseBook:
            raise
        except (ValueError, KeyError, TypeError, wave.Error) as exc:
            raise BadPhraseBook(f"cannot use the phrase book {path}: {exc!r}") from exc

    def nearest(self, samples: Floats, rate: int) -> Match | None:
        """The phrase whose beginning is most like `samples`, however bad the likeness; None with nothing to compare.

        Costs some 5 ms for two seconds of speech and three phrases.
        """
        if not self.phrases or len(samples) > LONGEST_SECONDS * rate or not np.any(np.abs(samples) > _SILENCE):
            return None
        heard = trimmed(features(samples, rate))
        if len(heard) < _EDGE_FRAMES:
            return None
        ranked = sorted((*_align(heard, phrase.shape), phrase.text) for phrase in self.phrases)
        cost, share, text = ranked[0]
        return Match(text, cost, share, ranked[1][0] if len(ranked) > 1 else float("inf"))


def read_wav(path: Path, start: float = 0.0, end: float | None = None) -> tuple[Floats, int]:
    """Samples from -1 to 1 and their rate; 16-bit files only, the first channel of several."""
    with wave.open(io.BytesIO(read_regular(path, limit=WAV_MAX).data), "rb") as file:
        if file.getsampwidth() != 2:
            raise BadPhraseBook(f"{path} is not a 16-bit WAV file")
        rate, channels = file.getframerate(), file.getnchannels()
        file.setpos(min(round(start * rate), file.getnframes()))
        count = file.getnframes() if end is None else round((end - start) * rate)
        data = np.frombuffer(file.readframes(count), "<i2")[::channels]
    return data.astype(np.float32) / np.float32(32768), rate


def _phrase(folder: Path, entry: dict[str, object]) -> Phrase:
    start, end = entry.get("start", 0.0), entry.get("end")
    if not isinstance(start, int | float) or not (end is None or isinstance(end, int | float)):
        raise BadPhraseBook("start and end are seconds")
    samples, rate = read_wav(folder / str(entry["wav"]), start, end)
    shape = trimmed(features(samples, rate))
    if len(shape) < 2 * _EDGE_FRAMES:
        raise BadPhraseBook(f"{entry['text']!r} is too short to be recognised")
    return Phrase(str(entry["text"]), shape, len(shape) * HOP_SECONDS)


def _align(heard: Floats, phrase: Floats) -> tuple[float, float]:
    """The cost per heard frame of the best path, and the share of the phrase at its end.

    Each heard frame moves 0, 1 or 2 frames on in the phrase. So a row depends on the row before it only, and is one
    vector operation; a path may begin and end a little inside the phrase, since nobody cuts a recording exactly.
    """
    distance = np.sqrt(((heard[:, None, :] - phrase[None, :, :]) ** 2).sum(axis=2))
    row = np.full(len(phrase), np.inf, np.float32)
    row[:_EDGE_FRAMES] = distance[0, :_EDGE_FRAMES]
    stepped = np.full((3, len(phrase)), np.inf, np.float32)
    for each in distance[1:]:
        stepped[0] = row + _WARP_COST
        stepped[1, 1:] = row[:-1]
        stepped[2, 2:] = row[:-2] + _WARP_COST
        row = stepped.min(axis=0) + each
    at = int(row.argmin())
    return float(row[at]) / len(heard), (at + 1) / len(phrase)
