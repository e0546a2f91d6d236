"""How the host is: pressure stall information (PSI) and available memory."""

from __future__ import annotations

from pathlib import Path

from mindbot_supervisor.core.pressure import Host

PSI = Path("/proc/pressure")
MEMINFO = Path("/proc/meminfo")


def look(psi: Path = PSI, meminfo: Path = MEMINFO) -> Host:
    """One look; what this kernel does not tell is None (PSI may be compiled out or switched off)."""
    memory = _memory(meminfo)
    return Host(
        cpu_some=_average(psi / "cpu", "some"),
        memory_full=_average(psi / "memory", "full"),
        io_full=_average(psi / "io", "full"),
        available_mb=memory.get("MemAvailable"),
        total_mb=memory.get("MemTotal"),
    )


def _average(path: Path, kind: str) -> float | None:
    """`avg10` of a line such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`."""
    try:
        lines = path.read_text().splitlines()
    except OSError:  # EOPNOTSUPP on reading, where PSI is switched off
        return None
    for line in lines:
        words = line.split()
        if words and words[0] == kind:
            fields = dict(word.split("=", 1) for word in words[1:] if "=" in word)
            return float(fields["avg10"]) if "avg10" in fields else None
    return None


def _memory(path: Path) -> dict[str, float]:
    """MiB by name."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    wanted = ("MemTotal:", "MemAvailable:")
    split = (line.split() for line in lines if line.startswith(wanted))
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in split}
