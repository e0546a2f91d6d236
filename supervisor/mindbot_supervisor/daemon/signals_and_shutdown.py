"""Signals to the daemon, and the shutdown of the pool by a signal or a command.

Signal handlers only enqueue; signals are served one after the other, between other work. The first request to stop
lets the workers finish their calls; the second one ends the pool at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mindbot_supervisor.core import log_events
from mindbot_supervisor.daemon.engine.engine import Engine
from mindbot_supervisor.observability.systemd_notify import Systemd

SIGNALS = tuple(signal.Signals[f"SIG{name}"] for name in ("TERM", "INT", "HUP", "USR1", "USR2", "TTIN", "TTOU"))


class Signals:
    """Queues signals until they are served. `actions` may be set later than the first signal comes."""

    def __init__(self) -> None:
        self.actions: Mapping[int, Callable[[], object]] = {}
        self._came: asyncio.Queue[int] = asyncio.Queue()

    def listen(self) -> None:
        """Take signals from now on; those that came while an upgrade had them blocked are the first."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._came.put_nowait, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    async def next(self) -> int:
        return await self._came.get()

    def serve(self, number: int) -> None:
        self.actions[number]()


CUT = "live calls are cut: no worker here stays to take them"
"""LiveKit does not tell whether another host has workers, so no call is taken from its agent for a doubtful move."""


@dataclass(slots=True)
class Shutdown:
    """Stops the pool, and tells the log and systemd."""

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
