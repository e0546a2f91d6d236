"""Decides how many calls a worker takes: the load that it reports to LiveKit, and the refusal beyond `max_calls`."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psutil
from livekit.agents import AgentServer, JobRequest

from mindbot_config.host import resource_limits
from mindbot_config.host.cgroups import Mounts
from mindbot_worker.livekit_adapter import internals, job_forkserver
from mindbot_worker.livekit_adapter.internals import Attribute

FULL = 1.0
"""The load at which LiveKit marks a worker FULL: `max_calls` calls make it so, the host's pressure never does."""

BELOW_TARGET = 0.65
"""The highest load of a worker that can take a call: below livekit-server's `agents.target_load`, 0.7 by default.

The server does not count a worker above that (`JobRequestAffinity` in pkg/service/agentservice.go, 1.13.5): when all
workers are, it dispatches a call to none of them and reports no error."""


def load_of(calls: int, max_calls: int, pressure: float) -> float:
    """The load to report: a busy host makes the worker less preferred, but only `max_calls` calls make it full."""
    if calls >= max_calls:
        return FULL
    return BELOW_TARGET * max(calls / max_calls, min(max(pressure, 0.0), 1.0))


class HostPressure:
    """Measures the share of the CPU time that was in use, over the last second or more.

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


logger = logging.getLogger(__name__)

REFUSED = "job.refused"

OnRequest = Callable[[JobRequest], Awaitable[None]]


class Capacity:
    """Limits the calls of one worker to `max_calls`. A load function of the user's own is kept beside that."""

    def __init__(self, server: AgentServer, max_calls: int) -> None:
        self._server = server
        self._max = max_calls
        self._pressure = HostPressure()
        self._asked: set[str] = set()
        self._ours = not internals.has_own_load(server)

    def install(self) -> None:
        if self._ours:
            self._server.load_fnc = self.load
            internals.put(self._server, Attribute.LOAD_THRESHOLD, FULL)
            internals.override_effective_load(self._server, self.effective_load)
        internals.put(self._server, Attribute.REQUEST, self._guarded(internals.get(self._server, Attribute.REQUEST)))

    def load(self) -> float:
        """The load function; LiveKit calls it in a thread."""
        return load_of(len(internals.active_jobs(self._server)), self._limit(), self._pressure())

    def effective_load(self) -> float:
        """The load, with the calls that were accepted and have not started yet."""
        return load_of(self._taken(), self._limit(), self._pressure())

    def share_taken(self) -> float:
        """For status: the share of `max_calls` that is taken, or the load by the user's own function."""
        return self._taken() / self._max if self._ours else internals.load(self._server)

    @property
    def full(self) -> bool:
        return self._taken() >= self._limit()

    def _limit(self) -> int:
        """`max_calls`, or the number of job processes that are left where none can be started any more."""
        if not job_forkserver.is_gone():
            return self._max
        left = len(internals.active_jobs(self._server)) + internals.warm_processes(self._server)
        return min(self._max, left)

    def _taken(self) -> int:
        active = internals.active_jobs(self._server)
        # LiveKit gives a slot back a moment after its job was launched: that one is not counted twice
        reserved = internals.reserved_slots(self._server) - len(self._asked & active)
        return len(active) + max(reserved, 0)

    def _guarded(self, on_request: OnRequest | None) -> OnRequest:
        async def accept(request: JobRequest) -> None:
            await request.accept()

        decide = on_request or accept

        @functools.wraps(decide)
        async def on_request_within_max_calls(request: JobRequest) -> Any:
            self._asked.add(request.id)
            try:
                if self._taken() > self._limit():
                    logger.info(
                        "the worker has no room for another call",
                        extra={"event": REFUSED, "job": request.id, "room": request.room.name, "limit": self._limit()},
                    )
                    # terminate=True, LiveKit's default, would keep the other workers from taking the call
                    return await request.reject(terminate=False)
                return await decide(request)
            finally:
                self._asked.discard(request.id)

        return on_request_within_max_calls
