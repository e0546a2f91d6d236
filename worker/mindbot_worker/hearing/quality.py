"""Whether the caller can be understood, in a word. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mindbot_worker.hearing.network import Network, Packets
from mindbot_worker.hearing.sound import Sound

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
    """What was measured of some time of a call; `network` is as it was at the end of it."""

    sound: Sound
    packets: Packets
    network: Network

    @property
    def verdict(self) -> str:
        """The worst that is wrong: what is lost is lost, what is cut off distorted, and a low level can be raised."""
        if (self.packets.loss or 0.0) > LOSSY_ABOVE:
            return LOSSY
        level = self.sound.level
        if level is None or self.sound.speech < SPEECH_LEAST:
            return SILENT
        if self.sound.clipping > CLIPPING_ABOVE:
            return CLIPPING
        return QUIET if level < QUIET_BELOW else GOOD

    def fields(self) -> dict[str, Any]:
        """For a log line: what is not known is left out."""
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
