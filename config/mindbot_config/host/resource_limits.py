"""How much memory and how many CPUs this process and its children may use, and who says so.

The lowest limit of the own cgroup chain counts (v1, v2, both), else the host: in a container with 200 MiB the host's
24 GiB are nobody's, and a quota of two CPUs on a host of 64 is two. Used by the daemon and by its workers.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from mindbot_config.host.cgroups import Mounts, number_after, number_in, read, word_after

MB = 1024 * 1024
MEMORY_FILES = {1: ("memory.limit_in_bytes",), 2: ("memory.max", "memory.high")}
"""`memory.high` throttles instead of killing: beyond it nothing gets on."""
USAGE_FILE = {1: "memory.usage_in_bytes", 2: "memory.current"}
RECLAIMABLE = {1: b"total_inactive_file ", 2: b"inactive_file "}
"""In `memory.stat`: page cache that the kernel gives back when asked, and which is no reason to worry."""
INHERITED_V1 = b"hierarchical_memory_limit "
"""In v1's `memory.stat`: the lowest limit up to the root of the hierarchy, also above what a container sees."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What may be used. `source` says where the limit stands: "cgroup memory.max of /box", or "the host's memory"."""

    limit_mb: float
    source: str
    available_mb: float
    """Of the limit, or of the host where that is nearer to its end."""


@dataclass(frozen=True, slots=True)
class Cpus:
    """How many CPUs may be used; a quota need not be a whole number."""

    count: float
    source: str

    @property
    def whole(self) -> int:
        """At least one: so many processes can run side by side."""
        return max(1, math.ceil(self.count - 0.01))


def memory(mounts: Mounts | None = None) -> Memory:
    """The memory that this process and its children may use together."""
    mounts = mounts or Mounts.find()
    host = psutil.virtual_memory()
    total, source, available = host.total, "the host's memory", host.available
    for version, chain in mounts.chains("memory", mounts.lines()):
        for folder in chain:
            for limit, name in _limits(version, folder):
                if limit >= host.total:
                    continue
                available = min(available, max(limit - _in_use(version, folder), 0))
                if limit < total:
                    total, source = limit, f"cgroup {name} of {mounts.shown(folder)}"
    return Memory(total / MB, source, available / MB)


def _limits(version: int, folder: Path) -> list[tuple[int, str]]:
    found = [(number_in(folder / name), name) for name in MEMORY_FILES[version]]
    if version == 1:
        found.append((number_after(read(folder / "memory.stat") or b"", INHERITED_V1), "hierarchical_memory_limit"))
    return [(limit, name) for limit, name in found if limit is not None]


def _in_use(version: int, folder: Path) -> int:
    """Bytes that the kernel could not give back at once."""
    used = number_in(folder / USAGE_FILE[version]) or 0
    return max(used - (number_after(read(folder / "memory.stat") or b"", RECLAIMABLE[version]) or 0), 0)


def cpus(mounts: Mounts | None = None) -> Cpus:
    """The CPUs that this process and its children may use: the affinity, or a lower quota of the cgroup chain."""
    mounts = mounts or Mounts.find()
    allowed = len(os.sched_getaffinity(0))
    found = Cpus(allowed, "the CPU affinity" if allowed != psutil.cpu_count() else "the host's CPUs")
    for folder, quota, name in quotas(mounts):
        if quota < found.count:
            found = Cpus(quota, f"cgroup {name} of {mounts.shown(folder)}")
    return found


def quotas(mounts: Mounts) -> list[tuple[Path, float, str]]:
    """Each group of the own chain that has a CPU quota: its directory, the CPUs, and the file that says so."""
    found: list[tuple[Path, float, str]] = []
    for version, chain in mounts.chains("cpu", mounts.lines()):
        for folder in chain:
            quota = _quota_v1(folder) if version == 1 else _quota_v2(folder)
            if quota is not None:
                found.append((folder, quota, "cpu.cfs_quota_us" if version == 1 else "cpu.max"))
    return found


def _quota_v1(folder: Path) -> float | None:
    quota, period = number_in(folder / "cpu.cfs_quota_us"), number_in(folder / "cpu.cfs_period_us")
    return quota / period if quota and period else None


def _quota_v2(folder: Path) -> float | None:
    words = (read(folder / "cpu.max") or b"").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and all(word.isdigit() for word in words) else None


def cpu_seconds_used(mounts: Mounts, folder: Path) -> float | None:
    """CPU seconds that a group with a quota has used; None where the kernel does not tell."""
    data = read(folder / "cpu.stat") or b""
    if (word := word_after(data, b"usage_usec ")) is not None and word.isdigit():
        return int(word) / 1e6
    if "cpuacct" in mounts.v1 and "cpu" in mounts.v1:  # v1 may have the two controllers mounted apart
        apart = mounts.v1["cpuacct"].place / folder.relative_to(mounts.v1["cpu"].place)
        nanoseconds = number_in(apart / "cpuacct.usage")
        return nanoseconds / 1e9 if nanoseconds is not None else None
    return None
