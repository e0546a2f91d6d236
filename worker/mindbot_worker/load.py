"""How busy a worker says it is: its calls against `max_calls`, and as busy as the host while it has room."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import psutil

from mindbot_config import resource_limits
from mindbot_config.cgroups import Mounts

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
    """The share of the CPU time that was in use, over the last second or more.

    Of the host's, or of the quota of the own cgroup, whichever has less left: in a container with two CPUs of 64 the
    host looks idle while the container cannot keep up.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        window: float = 1.0,
        mounts: Mounts | None = None,
    ) -> None:
        self._clock = clock
        self._window = window
        self._mounts = mounts or Mounts.find()
        self._groups = [(folder, quota) for folder, quota, _ in resource_limits.quotas(self._mounts)]
        self._taken_at = clock()
        self._busy, self._total = _cpu_seconds()
        self._used = self._used_by_groups()
        self._share = 0.0

    def __call__(self) -> float:
        now = self._clock()
        if now - self._taken_at >= self._window:
            busy, total = _cpu_seconds()
            used = self._used_by_groups()
            if total > self._total:
                host = (busy - self._busy) / (total - self._total)
                self._share = min(max(host, self._of_quotas(used, now - self._taken_at), 0.0), 1.0)
            self._taken_at, self._busy, self._total, self._used = now, busy, total, used
        return self._share

    def _used_by_groups(self) -> list[float | None]:
        return [resource_limits.cpu_seconds_used(self._mounts, folder) for folder, _ in self._groups]

    def _of_quotas(self, used: Sequence[float | None], seconds: float) -> float:
        """The largest share of a quota that was used."""
        shares = [
            (after - before) / (quota * seconds)
            for (_, quota), before, after in zip(self._groups, self._used, used, strict=True)
            if before is not None and after is not None
        ]
        return max(shares, default=0.0)


def _cpu_seconds() -> tuple[float, float]:
    times = psutil.cpu_times()
    # guest time is part of user time already
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total
