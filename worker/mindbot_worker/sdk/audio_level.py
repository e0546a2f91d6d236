"""Measures level, clipping and silence of a voice from its samples. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

Samples = np.ndarray[Any, np.dtype[np.int16]]

BLOCK_SECONDS = 0.02
"""Length of a block, which is speech or not: shorter than a syllable, longer than a period of the deepest voice."""
ABOVE_FLOOR_DB = 10.0
"""How much louder than the room speech is."""
FULL_SCALE = 0.95
"""A sample beyond this part of full scale counts as clipped: codecs round the tops that were cut off."""

_FLOOR_BLOCKS = 150
"""Blocks of three seconds, in which nobody speaks without a gap: the quietest of them is the level of the room."""
_FLOOR_LOW, _FLOOR_HIGH = -72.0, -45.0
"""Limits to the level of the room, in dBFS: a line that sends zeros counts as the first, and what is louder than the
second for three seconds is not the room."""
_FLOOR_AT_FIRST = -55.0
"""The level of the room, in dBFS, until a quiet block was heard."""
_NOTHING = 1e-12


@dataclass(frozen=True, slots=True)
class Sound:
    """Sums over a stretch of sound; those of two stretches can be added."""

    blocks: int = 0
    loud_blocks: int = 0
    samples: int = 0
    """Of the loud blocks, as the next two."""
    power: float = 0.0
    """The sum of the squares, full scale being 1."""
    clipped: int = 0

    def __add__(self, other: Sound) -> Sound:
        return Sound(
            self.blocks + other.blocks,
            self.loud_blocks + other.loud_blocks,
            self.samples + other.samples,
            self.power + other.power,
            self.clipped + other.clipped,
        )

    @property
    def seconds(self) -> float:
        return self.blocks * BLOCK_SECONDS

    @property
    def speech(self) -> float:
        """Seconds of speech, or of anything as loud."""
        return self.loud_blocks * BLOCK_SECONDS

    @property
    def level(self) -> float | None:
        """RMS of the speech in dBFS."""
        return _decibels(self.power / self.samples) if self.samples else None

    @property
    def clipping(self) -> float:
        """Share of the speech's samples at full scale."""
        return self.clipped / self.samples if self.samples else 0.0

    @property
    def silence(self) -> float:
        """Share of the time without speech."""
        return 1 - self.loud_blocks / self.blocks if self.blocks else 1.0


class SoundMeter:
    """Measures one channel, which is fed in pieces of any length."""

    def __init__(self, rate: int) -> None:
        self._size = round(rate * BLOCK_SECONDS)
        self._rest: Samples = np.zeros(0, np.int16)
        self._levels: deque[float] = deque(maxlen=_FLOOR_BLOCKS)
        self._sum = Sound()

    def feed(self, samples: Samples) -> None:
        data = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(data) // self._size * self._size
        self._rest = data[whole:]
        if whole:
            self._take(data[:whole].reshape(-1, self._size).astype(np.float32) / np.float32(32768))

    def _take(self, blocks: Any) -> None:
        powers = np.einsum("ij,ij->i", blocks, blocks, dtype=np.float64)
        levels = [_decibels(power / self._size) for power in powers]
        self._levels.extend(levels)
        threshold = self._floor() + ABOVE_FLOOR_DB
        loud = np.array([level > threshold for level in levels])
        speech = blocks[loud]
        self._sum += Sound(
            blocks=len(levels),
            loud_blocks=len(speech),
            samples=speech.size,
            power=float(powers[loud].sum()),
            clipped=int(np.count_nonzero(np.abs(speech) >= FULL_SCALE)),
        )

    def _floor(self) -> float:
        quietest = min(self._levels) if len(self._levels) == _FLOOR_BLOCKS else min(*self._levels, _FLOOR_AT_FIRST)
        return min(max(quietest, _FLOOR_LOW), _FLOOR_HIGH)

    def taken(self) -> Sound:
        """What was heard since the last time."""
        sound, self._sum = self._sum, Sound()
        return sound


def _decibels(power: float) -> float:
    return 10 * math.log10(max(power, _NOTHING))
