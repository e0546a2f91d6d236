"""Turns a stream of sound into the events of a speech service: speech began, words so far, final words, ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mindbot_worker.standins.recogniser import LONGEST_SECONDS, Floats, Match, PhraseBook

FRAME_SECONDS = 0.02
FRAMES_FOR_ONSET = 5
"""How far back speech is looked for: a click is over within three frames, a syllable is not."""

_ABOVE_FLOOR_DB = 12.0
_FLOOR_MIN, _FLOOR_MAX = -70.0, -45.0
# Nobody speaks for longer without a gap of 20 ms; until some frames are in, a quiet room is assumed.
_FLOOR_FRAMES, _FLOOR_FRAMES_LEAST, _FLOOR_AT_FIRST = 150, 10, -55.0
_SILENCE_DB = -90.0
_LOUD_FOR_ONSET = 4


class VoiceActivity:
    """Detects speech, frame by frame: see `loud`, `onset` and `quiet_for` after each."""

    def __init__(self) -> None:
        self.loud = False
        self.quiet_for = 0.0
        """Seconds since the last loud frame."""
        self._levels: deque[float] = deque(maxlen=_FLOOR_FRAMES)
        self._recent: deque[bool] = deque(maxlen=FRAMES_FOR_ONSET)

    def hear(self, frame: Floats) -> None:
        level = level_db(frame)
        self._levels.append(level)
        self.loud = level > self._floor() + _ABOVE_FLOOR_DB
        self.quiet_for = 0.0 if self.loud else self.quiet_for + FRAME_SECONDS
        self._recent.append(self.loud)

    def _floor(self) -> float:
        """The quietest of the last three seconds is what the room sounds like."""
        if len(self._levels) < _FLOOR_FRAMES_LEAST:
            return _FLOOR_AT_FIRST
        return min(max(min(self._levels), _FLOOR_MIN), _FLOOR_MAX)

    @property
    def onset(self) -> bool:
        """Speech has begun, within the last few frames."""
        return sum(self._recent) >= _LOUD_FOR_ONSET


def level_db(frame: Floats) -> float:
    """RMS in dB below full scale."""
    power = float(np.mean(np.square(frame))) if len(frame) else 0.0
    return max(10 * float(np.log10(power)), _SILENCE_DB) if power > 0 else _SILENCE_DB


_BEFORE_ONSET_FRAMES = 15
_INTERIM_EVERY_SECONDS = 0.3
_WORDLESS_INTERIM_AFTER = 1.0
# A stop consonant is silent for up to 0.1 s: a pause ends a known phrase only when all of it was heard, and ends
# other speech after the pause people make between sentences.
_PAUSE_AFTER_PHRASE, _PAUSE_AFTER_OTHER = 0.1, 0.45


@dataclass(frozen=True, slots=True)
class Began:
    at: float


@dataclass(frozen=True, slots=True)
class Words:
    """A transcript of the sound from `start` to `end`. `final` will not change; `endpoint` is where speech paused."""

    text: str
    start: float
    end: float
    confidence: float
    final: bool
    endpoint: bool


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    last_word_end: float


Event = Began | Words | UtteranceEnded


@dataclass(frozen=True, slots=True)
class Asked:
    """What the listener's client wants to be told; times in seconds, None for never."""

    interim: bool = True
    endpointing: float | None = 0.01
    utterance_end: float | None = None


class Listener:
    """Yields events for the samples of one channel. Its clock is the sound itself, which may come faster than time."""

    def __init__(self, book: PhraseBook, rate: int, asked: Asked) -> None:
        self._book, self._rate, self._asked = book, rate, asked
        self._activity = VoiceActivity()
        self._size = round(rate * FRAME_SECONDS)
        self._rest: Floats = np.zeros(0, np.float32)
        self._before: deque[Floats] = deque(maxlen=_BEFORE_ONSET_FRAMES)
        self._speech: list[Floats] = []
        self._start = 0.0
        self._frames = 0
        self._next_interim = 0.0
        self._pause_judged = False
        self._open_utterance_end: float | None = None

    @property
    def now(self) -> float:
        """Seconds of sound heard."""
        return self._frames * FRAME_SECONDS

    def feed(self, samples: Floats) -> Iterator[Event]:
        data = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(data) // self._size * self._size
        self._rest = data[whole:]
        for frame in data[:whole].reshape(-1, self._size):
            yield from self._hear(frame)

    def flush(self) -> Iterator[Event]:
        """Says what there is to say about the sound so far, as if a pause had come."""
        if self._speech:
            yield self._end(self._match())

    def _hear(self, frame: Floats) -> Iterator[Event]:
        self._frames += 1
        self._activity.hear(frame)
        if self._speech:
            self._speech.append(frame)
            yield from self._while_speaking()
            return
        self._before.append(frame)
        if self._activity.onset:
            self._speech = list(self._before)
            self._before.clear()
            self._start = self.now - FRAMES_FOR_ONSET * FRAME_SECONDS
            self._next_interim = self.now + _INTERIM_EVERY_SECONDS
            self._open_utterance_end = None
            yield Began(self._start)
        elif self._open_utterance_end is not None and self._utterance_over(self._open_utterance_end):
            yield UtteranceEnded(self._open_utterance_end)
            self._open_utterance_end = None

    def _while_speaking(self) -> Iterator[Event]:
        quiet = self._activity.quiet_for
        endpointing = self._asked.endpointing or 0.0
        if self._activity.loud:
            self._pause_judged = False
        if quiet >= max(endpointing, _PAUSE_AFTER_OTHER) or self.now - self._start >= LONGEST_SECONDS:
            yield self._end(self._match())
        elif quiet >= max(endpointing, _PAUSE_AFTER_PHRASE) and not self._pause_judged:
            self._pause_judged = True
            match = self._match()
            if match is not None and match.complete:
                yield self._end(match)
        elif self._asked.interim and self._activity.loud and self.now >= self._next_interim:
            self._next_interim = self.now + _INTERIM_EVERY_SECONDS
            yield from self._interim(self._match())

    def _interim(self, match: Match | None) -> Iterator[Event]:
        words = match.words_heard() if match is not None and match.sure else ""
        if not words and self.now - self._start > _WORDLESS_INTERIM_AFTER:
            words = self._wordless()
        if words:
            yield Words(words, self._start, self.now, _confidence(match), final=False, endpoint=False)

    def _end(self, match: Match | None) -> Words:
        text = ""
        if match is not None and match.sure:
            text = match.text if match.complete else match.words_heard()
        end = self.now - self._activity.quiet_for
        paused = self._activity.quiet_for > 0 and self._asked.endpointing is not None
        words = Words(text or self._wordless(), self._start, end, _confidence(match), final=True, endpoint=paused)
        self._open_utterance_end = end
        self._speech, self._pause_judged = [], False
        return words

    def _match(self) -> Match | None:
        return self._book.nearest(np.concatenate(self._speech), self._rate)

    def _wordless(self) -> str:
        """What is said of speech that is in no phrase book."""
        spoken = self.now - self._activity.quiet_for - self._start
        return f"speech of {max(spoken, 0.1):.1f} seconds"

    def _utterance_over(self, last_word_end: float) -> bool:
        wanted = self._asked.utterance_end
        return wanted is not None and self.now - last_word_end >= wanted


def _confidence(match: Match | None) -> float:
    return round(max(0.5, 0.999 - match.cost / 40), 3) if match is not None and match.sure else 0.5
