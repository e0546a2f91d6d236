"""A second ear on the caller's track: measures what arrives, as it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import numpy as np
from livekit import rtc

from mindbot_worker.hearing import network
from mindbot_worker.hearing.network import Network, Packets
from mindbot_worker.hearing.quality import Quality
from mindbot_worker.hearing.sound import Sound, SoundMeter

RATE, PIECE_MS = 16_000, 200
"""Enough to judge a voice by. WebRTC decodes the track once for all who listen to it: this ear takes 0.4 % of a core,
measuring and statistics included (with pieces of 100 ms and statistics each second it was 0.7 %)."""
_QUEUE = 25
"""Pieces that wait for a busy loop; older ones are dropped then."""
_STATS_EVERY, _STATS_WITHIN = 4.0, 1.0

logger = logging.getLogger(__name__)


class Listener:
    """Follows the caller from track to track."""

    def __init__(self) -> None:
        self._track: rtc.RemoteAudioTrack | None = None
        self._task: asyncio.Task[None] | None = None
        self._meter = SoundMeter(RATE)
        self._network, self._before = Network(), Network()
        self._sound, self._packets = Sound(), Packets()
        self._asked_at = 0.0

    async def look(self, track: rtc.RemoteAudioTrack | None) -> None:
        """This is the caller's track now."""
        if track is not self._track:
            await self._stop()
            self._track = track
            if track is not None:
                self._task = asyncio.get_running_loop().create_task(self._listen(track))
        if track is not None and time.monotonic() - self._asked_at >= _STATS_EVERY:
            self._asked_at = time.monotonic()
            # a track that has just ended has no statistics, and does not say so
            with contextlib.suppress(Exception):
                self._network = network.read(await asyncio.wait_for(track.get_stats(), _STATS_WITHIN))

    def taken(self) -> Quality:
        """What was heard since the last time."""
        sound, packets = self._meter.taken(), network.between(self._before, self._network)
        self._before = self._network
        self._sound += sound
        self._packets += packets
        return Quality(sound, packets, self._network)

    def whole(self) -> Quality:
        """All that was taken so far."""
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
