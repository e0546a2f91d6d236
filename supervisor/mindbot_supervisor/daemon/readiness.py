"""Decides whether callers can be served, and tells the log, systemd and /readyz."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import Phase
from mindbot_supervisor.observability.systemd_notify import Systemd

EXTENSION = 30.0
"""Seconds of stopping time asked of systemd at once, while calls last."""
LOOK = 1.0
"""Seconds between two messages to systemd, if its watchdog does not want them sooner."""


@dataclass(slots=True)
class Readiness:
    """The state "ready" of the daemon, and who is told of it."""

    pool: Pool
    systemd: Systemd
    note: Callable[..., None]
    started: float
    not_watching: Callable[[], str | None]
    """Why the daemon cannot be trusted to look after its workers now, or None."""
    was_ready: bool = False

    @property
    def interval(self) -> float:
        return min(LOOK, (self.systemd.watchdog or LOOK * 2) / 2)

    def worker_ready(self) -> None:
        """Note that a worker is ready: the first one makes the daemon ready."""
        if not self.was_ready:
            self.was_ready = True
            self.note(log_events.SUPERVISOR_READY, after=round(time.monotonic() - self.started, 3))
            self.systemd.ready()

    def resume(self) -> None:
        """After an upgrade: be ready if any worker is."""
        self.was_ready = self.pool.ready > 0
        if self.was_ready:
            self.systemd.ready()

    def inform_systemd(self) -> None:
        """Send systemd the status, and feed its watchdog while the workers are really looked after."""
        failing = self.not_watching()
        if failing is None:
            self.systemd.alive()
        if self.pool.stopping:
            self.systemd.extend(EXTENSION)
        status = f"{self.pool.ready} of {len(self.pool.slots)} workers ready, {self.pool.active_calls} calls"
        self.systemd.status(status if failing is None else f"{status}; {failing}")

    def unready(self) -> str | None:
        """Why no caller could be served now, or not be looked after; or None."""
        pool = self.pool
        if pool.stopping:
            return "the pool is stopping"
        ready = [worker for worker in pool.workers.values() if worker.phase is Phase.READY]
        if not ready:
            return pool.brake.hold.detail if pool.brake.hold else pool.shortage.detail or "no worker is ready"
        if all(worker.registered is False for worker in ready):
            return pool.brake.hold.detail if pool.brake.hold else "no worker is registered with LiveKit"
        return self.not_watching()
