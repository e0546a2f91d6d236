"""Packet loss, jitter and round trip of the caller's track, from the statistics that WebRTC keeps of it. Pure.

Loss and jitter are those of the whole way from the caller: LiveKit's server passes gaps on. The round trip is the
agent's own to that server; nobody tells an agent how far the caller is from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

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
    """Packets of some time; those of two times can be added."""

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
