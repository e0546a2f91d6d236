"""How busy a worker says it is: its calls against `max_calls`, and as busy as the host while it has room."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

FULL = 1.0
"""LiveKit's worker gives this load the status FULL; only calls reach it, never the host's pressure."""

WITH_ROOM = 0.65
"""A worker with room stays below livekit-server's `agents.target_load`, 0.7 by default. From there on the server
counts a worker as nothing (`JobRequestAffinity` in pkg/service/agentservice.go, 1.13.5): when all of them are there,
it dispatches a call to nobody and says so to nobody, whatever their status."""


def load_of(calls: int, max_calls: int, pressure: float) -> float:
    """The load to report: a busy host makes the worker less preferred, but only `max_calls` calls make it full."""
    if calls >= max_calls:
        return FULL
    return WITH_ROOM * max(calls / max_calls, min(max(pressure, 0.0), 1.0))


class HostPressure:
    """The share of the host's CPU time that was in use, over the last second or more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, window: float = 1.0) -> None:
        self._clock = clock
        self._window = window
        self._taken_at = clock()
        self._busy, self._total = _cpu_seconds()
        self._share = 0.0

    def __call__(self) -> float:
        now = self._clock()
        if now - self._taken_at >= self._window:
            busy, total = _cpu_seconds()
            if total > self._total:
                self._share = min(max((busy - self._busy) / (total - self._total), 0.0), 1.0)
            self._taken_at, self._busy, self._total = now, busy, total
        return self._share


def _cpu_seconds() -> tuple[float, float]:
    times = psutil.cpu_times()
    # guest time is part of user time already
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total
