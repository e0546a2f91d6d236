"""Watches the connection of one call to its room: when it is lost, for how long, and the probable cause."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from livekit import rtc

from mindbot_worker.jobs.notify_error import tell
from mindbot_worker.jobs.reporter import CallReporter

LAG = 1.0
"""Seconds of a blocked loop that count as a cause: LiveKit's own timers in it are late as well."""
HOST_WAITS, HOST_LOAD = 40.0, 1.5
LOSS = 0.05
"""Share of lost packets that counts as a cause: speech suffers audibly, and reconnects begin."""
UNKNOWN = "nothing that was measured here stands out: look at the network between this host and LiveKit, and at LiveKit"


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured when a call lost its connection; what is None could not be measured."""

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


def probable_causes(measured: Measurements) -> list[str]:
    """The probable causes of lost connections, each a plain sentence with its number; at least one."""
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


_TICK = 0.5
_LATE = 0.1
_STATS_WITHIN = 2.0
_PRESSURE = Path("/proc/pressure/cpu")


class ConnectionMeasurements:
    """Measures what may cut one call's connection. A late tick of the loop is remembered for `window` seconds."""

    def __init__(self, room: Any, reporter: CallReporter, window: float) -> None:
        self._room, self._reporter, self._window = room, reporter, window
        self._late: deque[tuple[float, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.poor_quality = 0

    def start(self) -> None:
        self._due = time.monotonic() + _TICK
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._due >= _LATE:
            self._late.append((now, now - self._due))
        while self._late and self._late[0][0] < now - self._window:
            self._late.popleft()
        self.start()

    async def read(self) -> Measurements:
        return Measurements(
            loop_lag=max((lag for _, lag in self._late), default=0.0),
            host_waits=host_waits(),
            host_load=os.getloadavg()[0] / (os.cpu_count() or 1),
            packet_loss=await self._packet_loss(),
            poor_quality=self.poor_quality,
            rate_limited=self._rate_limited(),
        )

    def _rate_limited(self) -> int:
        """Requests that were refused, as counted by the sessions of any agent, or by MindBot's own clients."""
        counted = sum(used.get("rate_limited", 0) for used in self._reporter.usage.totals().values())
        return max(self._reporter.rate_limited, int(counted))

    async def _packet_loss(self) -> float | None:
        try:
            stats = await asyncio.wait_for(self._room.get_rtc_stats(), _STATS_WITHIN)
            return max(losses([*stats.publisher_stats, *stats.subscriber_stats]), default=None)
        except Exception:  # not connected any more, which is what this is about
            return None


def losses(stats: list[Any]) -> Iterator[float]:
    """The share of lost packets of each track, in both directions."""
    for each in stats:
        kind = each.WhichOneof("stats")
        if kind == "inbound_rtp":
            received = each.inbound_rtp.received
            total = received.packets_received + received.packets_lost
            if total > 0:
                yield max(received.packets_lost, 0) / total
        elif kind == "remote_inbound_rtp":
            yield each.remote_inbound_rtp.remote_inbound.fraction_lost


def host_waits(pressure: Path = _PRESSURE) -> float | None:
    try:
        found = re.search(r"^some .*avg60=([\d.]+)", pressure.read_text(), re.MULTILINE)
    except OSError:  # a kernel without it
        return None
    return float(found[1]) if found else None


DISCONNECTED, RECONNECTING, RECONNECTED = "room.disconnected", "room.reconnecting", "room.reconnected"
DISCONNECTS = "disconnects"
"""Kind of error: a call that loses its connection again and again."""
_POOR = (rtc.ConnectionQuality.QUALITY_POOR, rtc.ConnectionQuality.QUALITY_LOST)
_ORDINARY = frozenset(
    {"CLIENT_INITIATED", "ROOM_DELETED", "ROOM_CLOSED", "PARTICIPANT_REMOVED", "USER_REJECTED", "USER_UNAVAILABLE"}
)
"""Reasons for which a call ends, rather than being cut."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How many disconnects are tolerated: settings `limits.max_disconnects` and `limits.disconnect_window`."""

    times: int = 3
    window: float = 300.0


class FrequentDisconnects(Exception):
    """A call lost its connection too often: that counts as an error."""


class Disconnects:
    """Logs disconnects of one call, and reports an error where there are too many. Its methods listen to the room."""

    def __init__(self, room: Any, reporter: CallReporter, tolerance: Tolerance) -> None:
        self._tolerance, self._reporter = tolerance, reporter
        self._meters = ConnectionMeasurements(room, reporter, tolerance.window)
        self._began = time.monotonic()
        self._lost_at: float | None = None
        self._lost: deque[float] = deque()
        self._telling: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._meters.start()

    def stop(self) -> None:
        self._meters.stop()

    def quality(self, _: object, quality: int) -> None:
        self._meters.poor_quality += quality in _POOR

    def reconnecting(self) -> None:
        self._lost_at = time.monotonic()
        logger.warning("the connection to the room is lost", extra={"event": RECONNECTING})
        self._note_loss()

    def reconnected(self) -> None:
        seconds = self._lost_for()
        self._lost_at = None
        logger.warning("connected to the room again", extra={"event": RECONNECTED, "seconds": seconds})

    def disconnected(self, reason: rtc.DisconnectReason.ValueType = rtc.DisconnectReason.UNKNOWN_REASON) -> None:
        """The connection is gone for good, and LiveKit ends the job."""
        self.stop()
        why = rtc.DisconnectReason.Name(reason)
        self._reporter.room_gone(why in _ORDINARY)
        said = {"reason": why, "seconds": self._lost_for(), "after": round(time.monotonic() - self._began, 3)}
        level = logging.INFO if why in _ORDINARY else logging.WARNING
        logger.log(level, "disconnected from the room", extra={"event": DISCONNECTED, **said})
        if level == logging.WARNING and self._lost_at is None:
            self._note_loss()

    def _lost_for(self) -> float:
        """Seconds since the connection was lost; 0 while there is one."""
        return 0.0 if self._lost_at is None else round(time.monotonic() - self._lost_at, 3)

    def _note_loss(self) -> None:
        now = time.monotonic()
        self._lost.append(now)
        while self._lost[0] < now - self._tolerance.window:
            self._lost.popleft()
        if len(self._lost) >= self._tolerance.times:
            times = len(self._lost)
            self._lost.clear()
            self._telling = asyncio.get_running_loop().create_task(self._tell_error(times))

    async def _tell_error(self, times: int) -> None:
        measured = await self._meters.read()
        causes = probable_causes(measured)
        what = f"{times} times within {self._tolerance.window:g} s; probably {'; '.join(causes)}"
        more = {"causes": causes, "measured": {k: _short(v) for k, v in asdict(measured).items() if v is not None}}
        tell(FrequentDisconnects(f"the connection was lost {what}"), kind=DISCONNECTS, more=more)


def _short(value: float) -> float:
    return round(value, 3)
