"""From WebRTC's statistics and measured sound to a verdict."""

from __future__ import annotations

import pytest
from livekit import rtc

from mindbot_worker.sdk.audio_level import Sound
from mindbot_worker.sdk.audio_quality import (
    CLIPPING,
    GOOD,
    LOSSY,
    PACKETS_LEAST,
    QUIET,
    SILENT,
    Network,
    Packets,
    Quality,
    between,
    read,
)


def stats(received: int, lost: int, *, jitter: float = 0.004, trip: float | None = 0.02) -> list[rtc.stats.RtcStats]:
    """As `get_stats()` of a track lists them: in any order, with much else."""
    inbound = rtc.stats.RtcStats()
    inbound.inbound_rtp.received.packets_received = received
    inbound.inbound_rtp.received.packets_lost = lost
    inbound.inbound_rtp.received.jitter = jitter
    unused = rtc.stats.RtcStats()
    unused.candidate_pair.candidate_pair.current_round_trip_time = 9
    codec = rtc.stats.RtcStats()
    codec.codec.rtc.id = "opus"
    if trip is None:
        return [codec, inbound]
    pair = rtc.stats.RtcStats()
    pair.candidate_pair.candidate_pair.nominated = True
    pair.candidate_pair.candidate_pair.current_round_trip_time = trip
    return [codec, pair, unused, inbound]


@pytest.mark.parametrize("reverse", [False, True])
def test_loss_jitter_and_round_trip_are_read_of_the_track_and_the_way_it_takes(reverse: bool) -> None:
    listed = stats(900, 100)
    assert read(reversed(listed) if reverse else listed) == Network(900, 100, 0.004, 0.02)


def test_a_round_trip_that_nobody_knows_is_none() -> None:
    assert read(stats(10, 0, trip=None)).round_trip is None
    assert read([]) == Network()


@pytest.mark.parametrize(
    ("before", "now", "packets"),
    [
        (Network(), Network(400, 100), Packets(500, 100)),
        (Network(400, 100), Network(900, 100), Packets(500, 0)),
        (Network(400, 100), Network(450, 90), Packets(50, 0)),  # ten came late
        (Network(400, 100), Network(50, 2), Packets(52, 2)),  # another track
    ],
)
def test_packets_are_those_of_the_time_between(before: Network, now: Network, packets: Packets) -> None:
    assert between(before, now) == packets


def test_loss_is_a_share_and_few_packets_tell_nothing() -> None:
    assert (Packets(400, 20) + Packets(600, 180)).loss == 0.2
    assert Packets(PACKETS_LEAST - 1, 40).loss is None


def sound(dbfs: float, *, clipping: float = 0.0, speech: float = 4.0) -> Sound:
    blocks = round(speech / 0.02)
    samples = blocks * 320
    return Sound(500, blocks, samples, samples * 10 ** (dbfs / 10), round(samples * clipping))


WELL = Packets(500, 5)


@pytest.mark.parametrize(
    ("heard", "packets", "verdict"),
    [
        (sound(-26), WELL, GOOD),
        (sound(-26), Packets(), GOOD),
        (sound(-45), WELL, QUIET),
        (sound(-9, clipping=0.01), WELL, CLIPPING),
        (sound(-26), Packets(500, 100), LOSSY),
        (sound(-9, clipping=0.01), Packets(500, 100), LOSSY),
        (Sound(500), WELL, SILENT),
        (sound(-26, speech=0.2), WELL, SILENT),
    ],
)
def test_the_verdict(heard: Sound, packets: Packets, verdict: str) -> None:
    quality = Quality(heard, packets, Network())
    assert quality.verdict == quality.fields()["verdict"] == verdict


def test_a_log_line_has_what_is_known() -> None:
    full = Quality(sound(-26), WELL, Network(0, 0, 0.0042, 0.031)).fields()
    assert full == {
        "verdict": GOOD,
        "speech_seconds": 4.0,
        "level_dbfs": -26.0,
        "clipping": 0.0,
        "silence": 0.6,
        "packet_loss": 0.01,
        "jitter_ms": 4.2,
        "round_trip_ms": 31.0,
    }
    none = Quality(Sound(), Packets(), Network()).fields()
    assert set(full) - set(none) == {"level_dbfs", "packet_loss", "round_trip_ms"}
