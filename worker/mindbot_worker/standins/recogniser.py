"""Recognises a few known phrases, by dynamic time warping over spectra."""

from __future__ import annotations

import io
import json
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mindbot_config.files.read_file import read_regular

Floats = NDArray[np.float32]

HOP_SECONDS = 0.02
WINDOW_SECONDS = 0.05
# Telephone bandwidth: what is above is lost in an 8 kHz call, so it must not count in any.
_LOW_HZ, _HIGH_HZ, _BANDS, _SHAPES = 120.0, 3400.0, 22, 12
_DYNAMIC_RANGE_DB = 45.0
_EDGE_RANGE_DB = 28.0


def features(samples: Floats, rate: int) -> Floats:
    """One row per 20 ms: the cepstrum without its level term, and the level below the loudest frame.

    Everything quieter than 45 dB under the loudest frame is flattened, or the hiss of a codec would look like speech.
    """
    frames = _frames(samples, rate)
    if len(frames) == 0:
        return np.zeros((0, _SHAPES + 1), np.float32)
    window, bank, shapes = _tables(rate)
    spectrum = np.abs(np.fft.rfft(frames * window, _fft_size(rate), axis=1)) ** 2
    bands = 10 * np.log10(spectrum @ bank + 1e-12)
    bands = np.maximum(bands, bands.max() - _DYNAMIC_RANGE_DB)
    level = bands.mean(axis=1, keepdims=True)
    result = np.hstack([(bands - level) @ shapes, level - level.max()])
    return result.astype(np.float32)


def trimmed(rows: Floats) -> Floats:
    """Without the silence before and after: the silence of a recording says nothing about its words."""
    loud = np.flatnonzero(rows[:, -1] > -_EDGE_RANGE_DB)
    return rows[loud[0] : loud[-1] + 1] if len(loud) else rows[:0]


def _frames(samples: Floats, rate: int) -> Floats:
    size, hop = round(rate * WINDOW_SECONDS), round(rate * HOP_SECONDS)
    if len(samples) < size:
        return np.zeros((0, size), np.float32)
    return np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]


def _fft_size(rate: int) -> int:
    return 1 << (round(rate * WINDOW_SECONDS) - 1).bit_length()


@cache
def _tables(rate: int) -> tuple[Floats, Floats, Floats]:
    """The window, the mel filter bank and the cosine shapes for one sample rate."""
    size, fft = round(rate * WINDOW_SECONDS), _fft_size(rate)
    edges = _from_mel(np.linspace(_to_mel(_LOW_HZ), _to_mel(_HIGH_HZ), _BANDS + 2))
    at = np.fft.rfftfreq(fft, 1 / rate)[:, None]
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0, np.minimum(rising, falling)) / (size * rate)
    index = np.arange(1, _SHAPES + 1)
    shapes = np.cos(np.pi / _BANDS * (np.arange(_BANDS)[:, None] + 0.5) * index) * np.sqrt(2 / _BANDS) / _BANDS**0.5
    return np.hanning(size).astype(np.float32), bank.astype(np.float32), shapes.astype(np.float32)


def _to_mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _from_mel(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


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
    """The phrases that the recogniser knows."""

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
