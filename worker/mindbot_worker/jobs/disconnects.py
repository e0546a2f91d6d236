"""Watches the connection of one call to its room: says when it is lost and for how long, and why it is lost often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from livekit import rtc

from mindbot_worker.jobs.causes import probable_causes
from mindbot_worker.jobs.measuring import Meters
from mindbot_worker.jobs.reporter import CallReporter
from mindbot_worker.robust.notifying import tell

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
    """`limits.max_disconnects`, `limits.disconnect_window`."""

    times: int = 3
    window: float = 300.0


class FrequentDisconnects(Exception):
    """A call lost its connection so often that it is an error of its own."""


class Disconnects:
    """Methods without arguments are listeners of the room."""

    def __init__(self, room: Any, reporter: CallReporter, tolerance: Tolerance) -> None:
        self._tolerance, self._reporter = tolerance, reporter
        self._meters = Meters(room, reporter, tolerance.window)
        self._began = time.monotonic()
        self._lost_at: float | None = None
        self._lost: deque[float] = deque()
        self._raising: asyncio.Task[None] | None = None

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
        seconds = self._without()
        self._lost_at = None
        logger.warning("connected to the room again", extra={"event": RECONNECTED, "seconds": seconds})

    def disconnected(self, reason: rtc.DisconnectReason.ValueType = rtc.DisconnectReason.UNKNOWN_REASON) -> None:
        """For good: LiveKit ends the job."""
        self.stop()
        why = rtc.DisconnectReason.Name(reason)
        self._reporter.room_gone(why in _ORDINARY)
        said = {"reason": why, "seconds": self._without(), "after": round(time.monotonic() - self._began, 3)}
        level = logging.INFO if why in _ORDINARY else logging.WARNING
        logger.log(level, "disconnected from the room", extra={"event": DISCONNECTED, **said})
        if level == logging.WARNING and self._lost_at is None:
            self._note_loss()

    def _without(self) -> float:
        """Seconds since the connection was lost."""
        return 0.0 if self._lost_at is None else round(time.monotonic() - self._lost_at, 3)

    def _note_loss(self) -> None:
        now = time.monotonic()
        self._lost.append(now)
        while self._lost[0] < now - self._tolerance.window:
            self._lost.popleft()
        if len(self._lost) >= self._tolerance.times:
            times = len(self._lost)
            self._lost.clear()
            self._raising = asyncio.get_running_loop().create_task(self._raise(times))

    async def _raise(self, times: int) -> None:
        measured = await self._meters.read()
        causes = probable_causes(measured)
        what = f"{times} times within {self._tolerance.window:g} s; probably {'; '.join(causes)}"
        more = {"causes": causes, "measured": {k: _short(v) for k, v in asdict(measured).items() if v is not None}}
        tell(FrequentDisconnects(f"the connection was lost {what}"), kind=DISCONNECTS, more=more)


def _short(value: float) -> float:
    return round(value, 3)
