"""Measures whether the caller can be understood: level and clipping of the track, packet loss, jitter, round trip."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit import rtc

from mindbot_worker.sdk.audio_level import Sound, SoundMeter

PACKETS_LEAST = 50
"""A second of speech. In silence callers send two or three packets a second: one lost says nothing."""


@dataclass(frozen=True, slots=True)
class Network:
    """Packets since the track began; `jitter` and `round_trip` are seconds, as they are now."""

    received: int = 0
    lost: int = 0
    jitter: float = 0.0
    round_trip: float | None = None


def read(stats: Iterable[Any]) -> Network:
    """What `RemoteAudioTrack.get_stats()` tells (RtcStats of the livekit package)."""
    network = Network()
    for each in stats:
        match each.WhichOneof("stats"):
            case "inbound_rtp":
                received = each.inbound_rtp.received
                network = Network(received.packets_received, received.packets_lost, received.jitter, network.round_trip)
            case "candidate_pair" if each.candidate_pair.candidate_pair.nominated:
                pair = each.candidate_pair.candidate_pair
                network = Network(network.received, network.lost, network.jitter, pair.current_round_trip_time)
            case _:
                pass
    return network


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets of a stretch of time; those of two stretches can be added."""

    sent: int = 0
    lost: int = 0

    def __add__(self, other: Packets) -> Packets:
        return Packets(self.sent + other.sent, self.lost + other.lost)

    @property
    def loss(self) -> float | None:
        """Share that was lost; None of too few to say so."""
        return self.lost / self.sent if self.sent >= PACKETS_LEAST else None


def between(before: Network, now: Network) -> Packets:
    """The packets of the time between two readings."""
    if now.received < before.received:
        before = Network()  # another track
    lost = max(now.lost - before.lost, 0)  # a packet that comes late is taken back
    return Packets(now.received - before.received + lost, lost)


GOOD, QUIET, CLIPPING, LOSSY, SILENT = "good", "quiet", "clipping", "lossy", "silent"

QUIET_BELOW = -40.0
"""dBFS of speech. Telephone speech is nominally at -26, and codecs are tested from -36 to -16 (ITU-T P.830)."""
CLIPPING_ABOVE = 0.003
"""Share of the samples of speech at full scale. Speech at a fair level has none; 20 dB too much, 6 % of it cut off, has
0.01 after the codec."""
LOSSY_ABOVE = 0.05
"""Share of packets lost. ITU-T G.1010 asks for less than 0.03 in a conversation; Opus repairs some of it."""
SPEECH_LEAST = 0.5
"""Seconds of speech, with less of which nothing can be said of its level."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured in a stretch of a call; `network` is as it was at its end."""

    sound: Sound
    packets: Packets
    network: Network

    @property
    def verdict(self) -> str:
        """The worst problem: lost packets before clipping, and that before a low level, which can be raised."""
        if (self.packets.loss or 0.0) > LOSSY_ABOVE:
            return LOSSY
        level = self.sound.level
        if level is None or self.sound.speech < SPEECH_LEAST:
            return SILENT
        if self.sound.clipping > CLIPPING_ABOVE:
            return CLIPPING
        return QUIET if level < QUIET_BELOW else GOOD

    def fields(self) -> dict[str, Any]:
        """The fields of a log line; what is not known is left out."""
        level, loss, trip = self.sound.level, self.packets.loss, self.network.round_trip
        told = {
            "verdict": self.verdict,
            "speech_seconds": round(self.sound.speech, 1),
            "level_dbfs": None if level is None else round(level, 1),
            "clipping": round(self.sound.clipping, 4),
            "silence": round(self.sound.silence, 3),
            "packet_loss": None if loss is None else round(loss, 4),
            "jitter_ms": round(self.network.jitter * 1000, 1),
            "round_trip_ms": None if trip is None else round(trip * 1000, 1),
        }
        return {name: value for name, value in told.items() if value is not None}


RATE, PIECE_MS = 16_000, 200
"""Enough to judge a voice by. WebRTC decodes the track once for all its listeners: this one takes 0.4 % of a core,
measurements and statistics included (with pieces of 100 ms and statistics each second it was 0.7 %)."""
_QUEUE = 25
"""Pieces that wait for a busy loop; older ones are dropped then."""
_STATS_EVERY, _STATS_WITHIN = 4.0, 1.0

logger = logging.getLogger(__name__)


class Listener:
    """Listens to the caller's track, also where it is replaced by another one."""

    def __init__(self) -> None:
        self._track: rtc.RemoteAudioTrack | None = None
        self._task: asyncio.Task[None] | None = None
        self._meter = SoundMeter(RATE)
        self._network, self._before = Network(), Network()
        self._sound, self._packets = Sound(), Packets()
        self._asked_at = 0.0

    async def update(self, track: rtc.RemoteAudioTrack | None) -> None:
        """Listen to `track`, which is the caller's now, and ask for its statistics now and then."""
        if track is not self._track:
            await self._stop()
            self._track = track
            if track is not None:
                self._task = asyncio.get_running_loop().create_task(self._listen(track))
        if track is not None and time.monotonic() - self._asked_at >= _STATS_EVERY:
            self._asked_at = time.monotonic()
            # a track that has just ended has no statistics, and does not say so
            with contextlib.suppress(Exception):
                self._network = read(await asyncio.wait_for(track.get_stats(), _STATS_WITHIN))

    def taken(self) -> Quality:
        """What was heard since the last time."""
        sound, packets = self._meter.taken(), between(self._before, self._network)
        self._before = self._network
        self._sound += sound
        self._packets += packets
        return Quality(sound, packets, self._network)

    def whole(self) -> Quality:
        """The quality of the whole call, as far as it was taken."""
        return Quality(self._sound, self._packets, self._network)

    async def aclose(self) -> None:
        await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _listen(self, track: rtc.RemoteAudioTrack) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=PIECE_MS, capacity=_QUEUE)
        try:
            async for event in stream:
                self._meter.feed(np.frombuffer(event.frame.data, np.int16))
        finally:
            await stream.aclose()


def track_of_caller(caller: rtc.RemoteParticipant | None) -> rtc.RemoteAudioTrack | None:
    """The microphone that the session hears."""
    for publication in caller.track_publications.values() if caller is not None else ():
        is_microphone = publication.source == rtc.TrackSource.SOURCE_MICROPHONE
        if is_microphone and isinstance(publication.track, rtc.RemoteAudioTrack):
            return publication.track
    return None
