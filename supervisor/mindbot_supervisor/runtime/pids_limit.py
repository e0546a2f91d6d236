"""Whether a limit of processes of our own cgroups was hit, by the kernel's counters: then a worker could not fork."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mindbot_supervisor.core.model import Ref

from .cgroups import MOUNTS, Mount, number_after

COUNTER = "pids.events"
"""File with a line `max N`: how often the limit (pids.max) made a fork fail (cgroup-v2.rst; in v1 since Linux 4.8)."""


def find(mounts: Path = MOUNTS, proc: Path = Path("/proc/self")) -> list[Path]:
    """The counters of the cgroup that we and our children are in, and of all above it that are seen here."""
    try:
        lines, ours = mounts.read_text().splitlines(), (proc / "cgroup").read_text().splitlines()
    except OSError:
        return []
    cgroups = {controllers: cgroup for _, controllers, cgroup in (line.split(":", 2) for line in ours)}
    found: list[Path] = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split(maxsplit=2)
        if kind == "cgroup2":
            cgroup = cgroups.get("")
        elif kind == "cgroup" and "pids" in options.split(","):
            cgroup = next((path for names, path in cgroups.items() if "pids" in names.split(",")), None)
        else:
            continue
        place = Path(fields[4])
        folder = Mount(fields[3], place).folder(cgroup) if cgroup is not None else None
        while folder is not None and folder.is_relative_to(place):
            found.append(folder / COUNTER)
            folder = folder.parent
    return [path for path in found if path.exists()]


@dataclass(slots=True)
class PidsLimit:
    """Remembers the counters as they were when each worker was started."""

    counters: list[Path] = field(default_factory=find)
    _before: dict[Ref, int] = field(default_factory=dict)

    def spawned(self, ref: Ref) -> None:
        self._before[ref] = self._hits()

    def hit(self, ref: Ref) -> str:
        """What was hit since this worker was started, in words; empty if nothing was. It is forgotten."""
        before = self._before.pop(ref, None)
        if before is None or self._hits() <= before:
            return ""
        return f"the limit of processes and threads of the cgroup (pids.max beside {self.counters[0]}) is reached"

    def _hits(self) -> int:
        return sum(number_after(path, "max") or 0 for path in self.counters)
