"""How the host is: pressure stall information (PSI) and available memory."""

from __future__ import annotations

from pathlib import Path

from mindbot_supervisor.core.pressure import Host

from . import procfile

PSI = Path("/proc/pressure")
MEMINFO = Path("/proc/meminfo")


def look(psi: Path = PSI, meminfo: Path = MEMINFO) -> Host:
    """One look; what this kernel does not tell is None (PSI may be compiled out or switched off)."""
    memory = procfile.read(meminfo) or b""
    return Host(
        cpu_some=_average(psi / "cpu", b"some"),
        memory_full=_average(psi / "memory", b"full"),
        io_full=_average(psi / "io", b"full"),
        available_mb=_mb(memory, b"MemAvailable:"),
        total_mb=_mb(memory, b"MemTotal:"),
    )


def memory_mb() -> float:
    """All of the host's memory, in MiB. Raises OSError where it is not told."""
    found = _mb(MEMINFO.read_bytes(), b"MemTotal:")
    if found is None:
        raise OSError(f"{MEMINFO} does not tell how much memory there is")
    return found


def _average(path: Path, kind: bytes) -> float | None:
    """`avg10` of a line such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`."""
    data = procfile.read(path)  # EOPNOTSUPP on reading, where PSI is switched off
    word = procfile.word_after(data, kind + b" avg10=") if data is not None else None
    return float(word) if word is not None else None


def _mb(memory: bytes, label: bytes) -> float | None:
    kb = procfile.number_after(memory, label)
    return kb / 1024 if kb is not None else None
