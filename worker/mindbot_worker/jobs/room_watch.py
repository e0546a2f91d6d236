"""Watches the room of a job: its events count as activity of the call, and each second who is in it is reported.

LiveKit's room has no event for its first connection, with which the callers come that were there before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from livekit import rtc

from mindbot_worker.jobs.disconnects import Disconnects
from mindbot_worker.jobs.reporter import CallReporter

_ACTIVITY = (
    "data_received",
    "participant_connected",
    "participant_disconnected",
    "sip_dtmf_received",
    "track_subscribed",
    "transcription_received",
)

logger = logging.getLogger(__name__)


_EVERY = 1.0
_CALLERS = frozenset(
    {
        rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
        rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
        rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
    }
)
"""Kinds of participants that are callers, as livekit.agents has them: not agents, recorders and streams."""


class CallerPresence:
    """Reports whether a caller is in the room, each second from `start` to `stop`, while the job is connected."""

    def __init__(self, room: Any, reporter: CallReporter) -> None:
        self._room, self._reporter = room, reporter
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.look()
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self.start)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def look(self, *_: object) -> None:
        """Report who is in the room now. (The mock room of a simulated call tells nothing.)"""
        with contextlib.suppress(AttributeError, TypeError):
            if self._room.isconnected() is True:
                kinds = [each.kind for each in self._room.remote_participants.values()]
                self._reporter.room_gone(False)
                self._reporter.people(any(kind in _CALLERS for kind in kinds))


def watch(room: Any, reporter: CallReporter, connection: Disconnects) -> CallerPresence:
    """Listen to a room: speech of either side, and everything that comes in, is activity of the call."""
    people = CallerPresence(room, reporter)
    for event in ("participant_connected", "participant_disconnected", "reconnected"):
        room.on(event, _guarded(people.look))
    for event in _ACTIVITY:
        room.on(event, _guarded(lambda *_: reporter.activity()))
    room.on("active_speakers_changed", _guarded(lambda *news: _speakers(reporter, *news)))
    room.on("reconnecting", _guarded(connection.reconnecting))
    room.on("reconnected", _guarded(connection.reconnected))
    room.on("disconnected", _guarded(connection.disconnected))
    room.on("connection_quality_changed", _guarded(connection.quality))
    connection.start()
    people.start()
    return people


def _speakers(reporter: CallReporter, *news: Any) -> None:
    if news and news[0]:
        reporter.activity()


def _guarded(react: Callable[..., None]) -> Callable[..., None]:
    def listener(*news: Any) -> None:
        try:
            react(*news)
        except Exception:
            logger.debug("cannot report a room event", exc_info=True)

    return listener
