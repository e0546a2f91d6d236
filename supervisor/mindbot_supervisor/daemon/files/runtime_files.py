"""Looks each second whether what the daemon needs in its runtime directory is there, and makes it again if not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mindbot_supervisor.core import log_events
from mindbot_supervisor.errors import SupervisorError

Keep = Callable[[float], Sequence[str]]
"""Makes again what was removed, and returns its names; takes the monotonic clock. Raises SupervisorError, OSError."""


@dataclass(slots=True)
class RuntimeFiles:
    """`keepers` are asked in this order: a directory comes before what is in it."""

    keepers: Sequence[Keep]
    note: Callable[..., None]
    _problem: str = ""

    def keep(self) -> None:
        """To be called every second. What cannot be made again is told once, and tried at every call."""
        made: list[str] = []
        problem = ""
        for keeper in self.keepers:
            try:
                made += keeper(time.monotonic())
            except (SupervisorError, OSError) as exc:
                problem = problem or str(exc)
        if made:
            self.note(log_events.RUNTIME_RESTORED, "warning", files=made, detail="they had been removed")
        if problem and problem != self._problem:
            self.note(log_events.RUNTIME_LOST, "warning", detail=problem)
        self._problem = problem
