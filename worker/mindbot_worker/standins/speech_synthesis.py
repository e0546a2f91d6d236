"""Makes sound that varies with a text as speech does, from sines and noise; a person would not understand it.

Vowels and voiced consonants are harmonics under three formants, hisses are filtered noise, stops are a gap and a burst.
The same text in the same voice always gives the same samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 24_000
LETTER_SECONDS = 0.06
_LEVEL = 0.11  # RMS of a word: with its pauses, speech comes to about -20 dBFS
_CONTROL = RATE // 200
"""Samples between two settings of the throat."""
_HIGHEST_HZ = 3800.0
_LONGEST_WORD = 60
_BANDWIDTHS = np.array([90.0, 120.0, 180.0])

Sound = NDArray[np.float32]

_FORMANTS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "y": (290, 2100, 2900),
    "l": (360, 1300, 2700),
    "r": (420, 1300, 1600),
    "w": (290, 610, 2150),
    "j": (260, 2070, 3020),
    "m": (250, 1100, 2100),
    "n": (250, 1400, 2300),
    "v": (280, 1400, 2400),
    "z": (280, 1700, 2600),
    "b": (250, 900, 2200),
    "d": (250, 1700, 2600),
    "g": (250, 1500, 2100),
}
_NEUTRAL = (500, 1500, 2500)
_QUIET_VOICED = dict.fromkeys("lrwjmnvzbdg", 0.5)
_HISS = {"s": 5500, "z": 5000, "f": 4200, "v": 3800, "h": 1500, "x": 4800, "c": 3500}
_BURST = {"p": 900, "t": 4000, "k": 2000, "q": 1900, "b": 700, "d": 3200, "g": 1700}
_PAUSE = {",": 0.15, ";": 0.2, ":": 0.2, ".": 0.3, "?": 0.3, "!": 0.3}


@dataclass(frozen=True, slots=True)
class Voice:
    pitch: float
    stretch: float
    """How much shorter the throat is than that of the formant table."""

    @classmethod
    def named(cls, name: str) -> Voice:
        digest = hashlib.sha256(name.encode()).digest()
        share = digest[0] / 255
        return cls(pitch=95 + 110 * share, stretch=0.95 + 0.2 * share)


def speak(text: str, voice: Voice, speed: float = 1.0) -> Iterator[Sound]:
    """The sound of `text`, from -1 to 1, word by word as it is made."""
    for place, word in enumerate(text.lower().split()):
        yield _word(word, place, voice, speed)
        pause = max((_PAUSE.get(sign, 0.0) for sign in word), default=0.0) or LETTER_SECONDS
        yield np.zeros(round(RATE * pause / speed), np.float32)


def _word(word: str, place: int, voice: Voice, speed: float) -> Sound:
    letters = [letter for letter in word if letter.isalnum()][:_LONGEST_WORD]
    if not letters:
        return np.zeros(0, np.float32)
    each = round(RATE * LETTER_SECONDS / speed)
    sound = _voiced(letters, each, place, voice) + _unvoiced(letters, each)
    fade = min(len(sound) // 4, RATE // 100)
    sound[:fade] *= np.linspace(0, 1, fade)
    sound[-fade:] *= np.linspace(1, 0, fade)
    sound *= _LEVEL / max(float(np.sqrt(np.mean(sound**2))), 1e-6)
    return np.asarray(np.tanh(sound), np.float32)


def _voiced(letters: list[str], each: int, place: int, voice: Voice) -> NDArray[np.float64]:
    """Harmonics of a gliding pitch, each as strong as the formants make it at that moment."""
    count = each * len(letters)
    moments = (np.arange(len(letters)) + 0.5) * each
    controls = np.arange(0, count + _CONTROL, _CONTROL)
    shapes = np.array([_FORMANTS.get(letter, _NEUTRAL) for letter in letters]) * voice.stretch
    formants = np.stack([np.interp(controls, moments, shapes[:, k]) for k in range(3)], axis=1)
    loud = np.interp(controls, moments, [_voicing(letter) for letter in letters])
    pitch = voice.pitch * (1.04 - 0.03 * (place % 5) + 0.06 * np.sin(np.pi * controls / count))
    phase = 2 * np.pi * np.cumsum(_smooth(pitch, count)) / RATE
    sound = np.zeros(count)
    # sin((k+1)x) = 2 cos(x) sin(kx) - sin((k-1)x) costs a tenth of another sine.
    before, wave, twice_cosine = np.zeros(count), np.sin(phase), 2 * np.cos(phase)
    for harmonic in range(1, int(_HIGHEST_HZ / voice.pitch) + 1):
        distance = (harmonic * pitch[:, None] - formants) / _BANDWIDTHS
        strength = (1 / (1 + distance**2)).sum(axis=1) * loud / harmonic**0.5
        sound += _smooth(strength, count) * wave
        before, wave = wave, twice_cosine * wave - before
    return sound


def _smooth(controls: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Straight lines between control values."""
    share = np.arange(_CONTROL) / _CONTROL
    lines = controls[:-1, None] + np.diff(controls)[:, None] * share
    return lines.reshape(-1)[:count]


def _voicing(letter: str) -> float:
    if letter in _QUIET_VOICED:
        return _QUIET_VOICED[letter]
    return 0.0 if letter in _HISS or letter in _BURST else 1.0


def _unvoiced(letters: list[str], each: int) -> NDArray[np.float64]:
    sound = np.zeros(each * len(letters))
    for index, letter in enumerate(letters):
        part = sound[index * each : (index + 1) * each]
        if letter in _HISS:
            part += 0.35 * _noise(each, _HISS[letter], index) * np.hanning(each)
        elif letter in _BURST:
            start = each // 2
            part[start:] += 0.6 * _noise(each - start, _BURST[letter], index) * np.exp(-np.arange(each - start) / 240)
    return sound


def _noise(count: int, centre: float, seed: int) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    at = np.fft.rfftfreq(count, 1 / RATE)
    noise = np.fft.irfft(spectrum * np.exp(-(((at - centre) / (0.35 * centre)) ** 2)), count)
    return np.asarray(noise / max(float(np.abs(noise).max()), 1e-9))
