"""Who is in the room of a job besides agents: looked at every second, and when somebody comes or goes.

LiveKit's room has no event for its first connection, with which the callers come that were there before.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from livekit import rtc

from mindbot_worker.jobs.reporter import CallReporter

_EVERY = 1.0
_CALLERS = frozenset(
    {
        rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
        rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
        rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
    }
)
"""As livekit.agents has them: other agents, recorders and streams are nobody to wait for."""


class People:
    """Reports from `start` to `stop` whether a caller is in the room, while the job is connected to it."""

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
        """A room that is none, as that of a simulated call, tells nothing."""
        with contextlib.suppress(AttributeError, TypeError):
            if self._room.isconnected() is True:
                kinds = [each.kind for each in self._room.remote_participants.values()]
                self._reporter.room_gone(False)
                self._reporter.people(any(kind in _CALLERS for kind in kinds))
