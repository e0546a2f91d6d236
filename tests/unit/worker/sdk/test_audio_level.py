"""Level, clipping and silence of generated signals, whatever the pieces they come in."""

from __future__ import annotations

import numpy as np
import pytest

from mindbot_worker.sdk.audio_level import BLOCK_SECONDS, Samples, Sound, SoundMeter

RATE = 16_000
RNG = np.random.default_rng(7)


def tone(dbfs: float, seconds: float, hertz: float = 220.0) -> Samples:
    """A sine whose RMS is at this level."""
    time = np.arange(round(RATE * seconds)) / RATE
    return np.round(32768 * 10 ** (dbfs / 20) * np.sqrt(2) * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def noise(dbfs: float, seconds: float) -> Samples:
    return np.round(RNG.normal(0, 32768 * 10 ** (dbfs / 20), round(RATE * seconds))).astype(np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(round(RATE * seconds), np.int16)


def words(dbfs: float, count: int = 5) -> Samples:
    """Half a second of sound, half a second of none, and so on."""
    return np.concatenate([np.concatenate([tone(dbfs, 0.5), silence(0.5)]) for _ in range(count)])


def measured(samples: Samples, piece: int = 1600) -> Sound:
    meter = SoundMeter(RATE)
    for start in range(0, len(samples), piece):
        meter.feed(samples[start : start + piece])
    return meter.taken()


@pytest.mark.parametrize("dbfs", [-10.0, -26.0, -40.0, -55.0])
def test_the_level_is_that_of_the_speech_alone(dbfs: float) -> None:
    sound = measured(np.concatenate([silence(1), words(dbfs)]))
    assert sound.level == pytest.approx(dbfs, abs=0.3)
    assert sound.seconds == pytest.approx(6) and sound.speech == pytest.approx(2.5, abs=0.15)
    assert sound.silence == pytest.approx(3.5 / 6, abs=0.03)
    assert sound.clipping == 0


@pytest.mark.parametrize("piece", [1, 160, 319, 320, 321, 1600, 80_000])
def test_the_pieces_that_sound_comes_in_make_no_difference(piece: int) -> None:
    samples = words(-30, 1)
    assert measured(samples, piece).blocks == measured(samples, 320).blocks
    assert measured(samples, piece).level == pytest.approx(measured(samples, 320).level or 0, abs=0.5)


def test_what_is_cut_off_is_clipped() -> None:
    loud = words(-20).astype(np.float64)
    clean, cut = measured(loud.astype(np.int16)), measured(np.clip(loud * 10, -32768, 32767).astype(np.int16))
    assert clean.clipping == 0
    assert cut.clipping > 0.3
    assert cut.level is not None and cut.level > -3


@pytest.mark.parametrize("samples", [silence(5), noise(-70, 5), noise(-50, 5)], ids=["zeros", "quiet room", "room"])
def test_a_room_is_no_speech(samples: Samples) -> None:
    meter = SoundMeter(RATE)
    meter.feed(samples)
    meter.taken()  # until it has heard the room for a while, it may take it for speech
    meter.feed(samples)
    sound = meter.taken()
    assert sound.speech == 0 and sound.silence == 1 and sound.level is None


def test_speech_in_a_noisy_room_is_told_from_it() -> None:
    meter = SoundMeter(RATE)
    meter.feed(noise(-50, 4))
    meter.taken()
    meter.feed((words(-25, 8).astype(np.int32) + noise(-50, 8)).astype(np.int16))
    sound = meter.taken()
    assert sound.level == pytest.approx(-25, abs=0.5)
    assert sound.speech == pytest.approx(4, abs=0.6)


def test_sums_of_parts_are_those_of_the_whole() -> None:
    meter, samples = SoundMeter(RATE), words(-30)
    meter.feed(samples[: len(samples) // 2])
    first = meter.taken()
    meter.feed(samples[len(samples) // 2 :])
    assert (first + meter.taken()).blocks == measured(samples).blocks == round(5 / BLOCK_SECONDS)
    assert meter.taken() == Sound()
