"""Tells whether the limit of processes of our cgroups was reached, by the kernel's counters: then a fork failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mindbot_config.host.cgroups import Mounts, number_after, read
from mindbot_supervisor.core.workers.model import Ref

COUNTER = "pids.events"
"""File with a line `max N`: how often the limit (pids.max) made a fork fail (cgroup-v2.rst; in v1 since Linux 4.8)."""


def find(mounts: Mounts | None = None) -> list[Path]:
    """The counters of the cgroup that we and our children are in, and of all above it that are seen here."""
    mounts = mounts or Mounts.find()
    found = (folder / COUNTER for _, chain in mounts.chains("pids", mounts.lines()) for folder in chain)
    return [path for path in found if path.exists()]


@dataclass(slots=True)
class PidsLimit:
    """Remembers the counters as they were when each worker was started."""

    counters: list[Path] = field(default_factory=find)
    _before: dict[Ref, int] = field(default_factory=dict)

    def spawned(self, ref: Ref) -> None:
        self._before[ref] = self._hits()

    def hit(self, ref: Ref) -> str:
        """Which limit was reached since this worker was started, in words; empty if none was. The worker is
        forgotten.
        """
        before = self._before.pop(ref, None)
        if before is None or self._hits() <= before:
            return ""
        return f"the limit of processes and threads of the cgroup (pids.max beside {self.counters[0]}) is reached"

    def _hits(self) -> int:
        return sum(number_after(read(path) or b"", b"max") or 0 for path in self.counters)
