"""One look at /proc: every process of the host, by pid, in a single pass for all workers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
ZOMBIE = "Z"


@dataclass(frozen=True, slots=True)
class Proc:
    """One process. `started` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    ppid: int
    session: int
    state: str
    started: int
    cpu_ticks: int
    rss_bytes: int

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.started


def read_all() -> dict[int, Proc]:
    """Every process there is now. Those that end while we look are left out."""
    table = {}
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal():
                proc = read_one(int(entry.name))
                if proc is not None:
                    table[proc.pid] = proc
    return table


def read_one(pid: int) -> Proc | None:
    """The process with this pid, or None if there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        data = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    # The name is in parentheses and may hold any byte, so fields are counted from the last one.
    fields = data[data.rindex(b")") + 2 :].split()
    return Proc(
        pid=pid,
        ppid=int(fields[1]),
        session=int(fields[3]),
        state=fields[0].decode(),
        started=int(fields[19]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        rss_bytes=int(fields[21]) * PAGE,
    )


def environment_value(pid: int, name: str) -> str | None:
    """The value a process was started with, or None where it has none or may not be read."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    prefix = f"{name}=".encode()
    for entry in data.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None


def catches(pid: int, number: int) -> bool:
    """Whether the process handles this signal itself. An unhandled SIGUSR2 would end it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
