"""Stopping the pool: the first time its workers finish their calls; the second time it ends at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mindbot_supervisor.core import log_events
from mindbot_supervisor.daemon.engine import Engine
from mindbot_supervisor.observability.systemd_notify import Systemd

CUT = "live calls are cut: no worker here stays to take them"
"""LiveKit does not tell whether another host has workers, so no call is taken from its agent for a doubtful move."""


@dataclass(slots=True)
class Stopper:
    engine: Engine
    systemd: Systemd
    note: Callable[..., None]

    def stop(self, *, now: bool, why: str) -> None:
        calls = self.engine.pool.active_calls
        fields: dict[str, object] = {"reason": why, "now": now, "calls": calls}
        if now and calls:
            fields["detail"] = CUT
        self.note(log_events.SUPERVISOR_STOPPING, "warning" if now else "info", **fields)
        self.systemd.stopping()
        if now:
            self.engine.stop_now()
        else:
            self.engine.stop()

    def by_signal(self, name: str) -> None:
        self.stop(now=self.engine.pool.stopping, why=name)

    def by_command(self, now: bool) -> None:
        self.stop(now=now, why="command")
