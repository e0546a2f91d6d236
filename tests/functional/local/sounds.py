"""What happens to speech on its way to a recogniser."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import av
import numpy as np

Samples = np.ndarray[Any, np.dtype[np.int16]]
RATE = 16_000


def gain(samples: Samples, decibel: float) -> Samples:
    return np.clip(samples.astype(float) * 10 ** (decibel / 20), -32768, 32767).astype(np.int16)


def resampled(samples: Samples, rate: int, to: int) -> Samples:
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler("s16", "mono", to)
    return np.concatenate([part.to_ndarray()[0] for part in resampler.resample(frame) + resampler.resample(None)])


def telephone(samples: Samples) -> Samples:
    """All above 4 kHz lost."""
    return resampled(resampled(samples, RATE, 8_000), 8_000, RATE)


def opus(samples: Samples) -> Samples:
    """Through Opus at a low rate, as over the air."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = 16_000
        frame = av.AudioFrame.from_ndarray(resampled(samples, RATE, 48_000)[None], format="s16", layout="mono")
        frame.sample_rate = 48_000
        for each in (frame, None):
            container.mux(stream.encode(each))
    file.seek(0)
    with av.open(file) as container:
        decoded = [frame.to_ndarray() for frame in container.decode(audio=0)]
    loud = np.concatenate(decoded, axis=1)[0] * 32767
    return resampled(np.clip(loud, -32768, 32767).astype(np.int16), 48_000, RATE)


def noisy(samples: Samples) -> Samples:
    """In a room with a fan."""
    return (samples + np.random.default_rng(7).normal(0, 150, len(samples))).clip(-32768, 32767).astype(np.int16)


WAYS: dict[str, Callable[[Samples], Samples]] = {
    "clean": lambda samples: samples,
    "12 dB louder": lambda samples: gain(samples, 12),
    "12 dB softer": lambda samples: gain(samples, -12),
    "opus": opus,
    "telephone": telephone,
    "noisy": noisy,
    "soft telephone over opus": lambda samples: opus(telephone(gain(samples, -12))),
}
