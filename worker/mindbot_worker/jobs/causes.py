"""Why a call lost its connection again and again: what stands out of what was measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass

LAG = 1.0
"""Seconds for which a loop stood still, from which on LiveKit's own timers in it are late as well."""
HOST_WAITS, HOST_LOAD = 40.0, 1.5
LOSS = 0.05
"""Share of lost packets from which on speech suffers audibly, and reconnects begin."""
UNKNOWN = "nothing that was measured here stands out: look at the network between this host and LiveKit, and at LiveKit"


@dataclass(frozen=True, slots=True)
class Measured:
    """What is None could not be measured."""

    loop_lag: float = 0.0
    """The longest time, in seconds, by which the job's event loop was late."""
    host_waits: float | None = None
    """Percent of the last minute in which something on this host waited for a CPU (/proc/pressure/cpu)."""
    host_load: float | None = None
    """Load average of the last minute, for each CPU."""
    packet_loss: float | None = None
    """Share of the packets of this call that were lost, in the worse direction."""
    poor_quality: int = 0
    """How often LiveKit rated a connection of this call as poor or lost."""
    rate_limited: int = 0
    """Requests of this call that a provider refused for their number (429)."""


def probable_causes(measured: Measured) -> list[str]:
    """Each a plain sentence with its figure; at least one."""
    found = []
    if measured.loop_lag >= LAG:
        found.append(f"the job's event loop stood still for {measured.loop_lag:.1f} s: code that blocks it, or no CPU")
    if (waits := measured.host_waits) is not None and waits >= HOST_WAITS:
        found.append(f"the host is short of CPU: something waited for one {waits:.0f} % of the last minute")
    elif (load := measured.host_load) is not None and load >= HOST_LOAD:
        found.append(f"the host is short of CPU: a load of {load:.1f} for each")
    if (loss := measured.packet_loss) is not None and loss >= LOSS:
        found.append(f"the network loses packets: {loss:.0%} of this call's")
    elif measured.poor_quality:
        times = "once" if measured.poor_quality == 1 else f"{measured.poor_quality} times"
        found.append(f"the network is poor: LiveKit rated a connection of this call so {times}")
    if measured.rate_limited:
        found.append(f"a provider's limit: {measured.rate_limited} requests of this call were refused (429)")
    return found or [UNKNOWN]
