"""Reads how short memory and CPU are: pressure stall information (PSI) and available memory of host or container.

The own cgroup's pressure counts where the kernel tells it (v2), else the host's; memory is that of the lowest limit of
the cgroup chain, else the host's. Source: Documentation/accounting/psi.rst.
"""

from __future__ import annotations

from pathlib import Path

from mindbot_config.host import cgroups, resource_limits
from mindbot_config.host.cgroups import Mounts
from mindbot_supervisor.core.health.host_pressure import Host

PSI = Path("/proc/pressure")


def look(mounts: Mounts, psi: Path = PSI) -> Host:
    """Read all of it once; what this kernel does not tell is None (PSI may be compiled out or switched off)."""
    memory = resource_limits.memory(mounts)
    own = mounts.own_v2(mounts.lines())
    return Host(
        cpu_some=_average(own, psi, "cpu", b"some"),
        memory_full=_average(own, psi, "memory", b"full"),
        io_full=_average(own, psi, "io", b"full"),
        available_mb=memory.available_mb,
        total_mb=memory.limit_mb,
    )


def _average(own: Path | None, psi: Path, what: str, kind: bytes) -> float | None:
    """`avg10` of a line such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`."""
    for path in (*([own / f"{what}.pressure"] if own is not None else []), psi / what):
        data = cgroups.read(path)  # EOPNOTSUPP on reading, where PSI is switched off
        word = cgroups.word_after(data, kind + b" avg10=") if data is not None else None
        if word is not None:
            return float(word)
    return None
