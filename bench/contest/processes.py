"""Processes of a contestant: found by the token in their environment, measured, ended by pid."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

TOKEN = "BENCH_TOKEN"
TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def marked(token: str) -> list[int]:
    """Every living process of this contestant, however it was started; zombies have no environment."""
    wanted = f"{TOKEN}={token}".encode()
    return [int(each.name) for each in PROC.iterdir() if each.name.isdigit() and wanted in _bytes(each / "environ")]


def words(pid: int) -> tuple[str, ...]:
    return tuple(_bytes(PROC / str(pid) / "cmdline").decode(errors="replace").split("\0")[:-1])


def parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def state(pid: int) -> str:
    """One letter, as ps has it; empty where it is gone."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def cpu_seconds(pids: Iterable[int], *, children: bool = False) -> float:
    """User and system time; with `children`, that of children that they have waited for too."""
    last = 15 if children else 13
    return sum(sum(map(int, fields[11:last])) for pid in pids if (fields := _stat(pid))) / TICKS


def pss_mb(pids: Iterable[int]) -> float:
    """Memory of these processes in MiB; pages that they share with others count in part."""
    rollups = (_bytes(PROC / str(pid) / "smaps_rollup").decode() for pid in pids)
    found = (re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE) for rollup in rollups)
    return sum(int(match.group(1)) for match in found if match) / 1024


def end(token: str, within: float = 20.0) -> None:
    """Kill all that is left of this contestant."""
    until = time.monotonic() + within
    while (left := marked(token)) and time.monotonic() < until:
        for pid in left:
            _kill(pid)
        time.sleep(0.05)
    if left:
        raise RuntimeError(f"processes that do not end: {left}")


def until(fact: Callable[[], Any], within: float, what: str, pause: float = 0.01) -> Any:
    """What `fact` returns once it is true."""
    deadline = time.monotonic() + within
    while not (found := fact()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:g} s: {what}")
        time.sleep(pause)
    return found


def settled(token: str, within: float = 120.0, window: float = 2.0) -> None:
    """Wait until nothing of this contestant is being started any more: it uses as little CPU as idle workers do, three
    times in a row, as on a busy machine it may just have had no turn.
    """
    deadline = time.monotonic() + within
    quiet = 0
    while quiet < 3:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not quiet within {within:g} s")
        pids = marked(token)
        before = cpu_seconds(pids)
        time.sleep(window)
        now = marked(token)
        idle = set(now) == set(pids) and (cpu_seconds(pids) - before) / window < 0.1 + 0.03 * len(pids)
        quiet = quiet + 1 if idle else 0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    return _bytes(PROC / str(pid) / "stat").decode(errors="replace").rpartition(")")[2].split()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
