"""Measures what may cut a call's connection: the job's loop, the host, the network, the providers."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mindbot_worker.jobs.causes import Measured
from mindbot_worker.jobs.reporter import CallReporter

_TICK = 0.5
_LATE = 0.1
_STATS_WITHIN = 2.0
_PRESSURE = Path("/proc/pressure/cpu")


class Meters:
    """Everything of one call; `window` is for how many seconds a late tick of the loop is remembered."""

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

    async def read(self) -> Measured:
        return Measured(
            loop_lag=max((lag for _, lag in self._late), default=0.0),
            host_waits=host_waits(),
            host_load=os.getloadavg()[0] / (os.cpu_count() or 1),
            packet_loss=await self._packet_loss(),
            poor_quality=self.poor_quality,
            rate_limited=self._rate_limited(),
        )

    def _rate_limited(self) -> int:
        """As the sessions of any agent saw it, or as MindBot's own requests did."""
        counted = sum(used.get("rate_limited", 0) for used in self._reporter.usage.totals().values())
        return max(self._reporter.rate_limited, int(counted))

    async def _packet_loss(self) -> float | None:
        try:
            stats = await asyncio.wait_for(self._room.get_rtc_stats(), _STATS_WITHIN)
            return max(losses([*stats.publisher_stats, *stats.subscriber_stats]), default=None)
        except Exception:  # not connected any more, which is what this is about
            return None


def losses(stats: list[Any]) -> Iterator[float]:
    """The share of lost packets of each track: received here, and received of ours by the server."""
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
