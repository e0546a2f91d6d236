"""One look at /proc: every process of the host, by pid, in a single pass for all workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from mindbot_worker import wire

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
ZOMBIE = "Z"

Key = tuple[int, int]
"""A process for as long as the host runs: its pid, and when it started (clock ticks since boot)."""


class Proc(NamedTuple):
    """One process. `started` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    ppid: int
    session: int
    state: str
    started: int
    cpu_ticks: int
    rss_bytes: int
    name: str = ""
    """What it calls itself, at most 15 characters."""

    @property
    def key(self) -> Key:
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
    end = data.rindex(b")")
    fields = data[end + 2 :].split(None, 22)
    return Proc(
        pid=pid,
        ppid=int(fields[1]),
        session=int(fields[3]),
        state=fields[0].decode(),
        started=int(fields[19]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        rss_bytes=int(fields[21]) * PAGE,
        name=data[data.index(b"(") + 1 : end].decode(errors="replace"),
    )


def environment(pid: int) -> dict[str, str]:
    """What a process was started with; empty where it may not be read, and for a moment during its exec."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    entries = (entry.decode(errors="replace").partition("=") for entry in data.split(b"\0"))
    return {name: value for name, separator, value in entries if separator}


def told(proc: Proc) -> tuple[str, str] | None:
    """The runtime directory and the worker that a process says it belongs to; None while that cannot be read.

    A worker that was forked from the template shares its environment with all others, and is told by its name.
    """
    environ = environment(proc.pid)
    if not environ:
        return None
    name = wire.worker_of(proc.name) or environ.get(wire.WORKER_NAME, "")
    return environ.get(wire.RUNTIME_DIR, ""), name


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
