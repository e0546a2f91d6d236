"""Watches the room of a job, for every agent; for those without an AgentSession it is all there is to see."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mindbot_worker.jobs.disconnects import Disconnects
from mindbot_worker.jobs.people import People
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


def watch(room: Any, reporter: CallReporter, connection: Disconnects) -> People:
    """Speech counts as activity of the call, whichever side speaks, and so does everything that comes in."""
    people = People(room, reporter)
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
