"""Templates and job servers that were stopped while idle: nobody waits for them then, and the next fork would hang."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field

from mindbot_supervisor.processes.stalled_jobs import is_stopped


@dataclass(slots=True)
class StoppedHelpers:
    """Remembers since when each process was seen stopped. Times are of the monotonic clock."""

    _since: dict[int, float] = field(default_factory=dict)
    _looked_at: float = float("-inf")

    def look(self, pids: Iterable[int], now: float, patience: float) -> list[tuple[int, float]]:
        """Those that are stopped (state T) for `patience` seconds or longer, and for how long.

        What was stopped while this program did not run itself counts from now on.
        """
        if now - self._looked_at >= patience:
            self._since.clear()
        self._looked_at = now
        self._since = {pid: self._since.get(pid, now) for pid in pids if is_stopped(pid)}
        return [(pid, now - since) for pid, since in self._since.items() if now - since >= patience]


def kill_stopped(pid: int) -> None:
    """SIGKILL this process if it is still stopped: by a pidfd, so that it can hit no other."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if is_stopped(pid):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(pidfd)
