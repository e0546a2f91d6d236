"""Sound as a recogniser sees it: the spectrum's shape, 50 times a second, whatever the gain and sample rate."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

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
