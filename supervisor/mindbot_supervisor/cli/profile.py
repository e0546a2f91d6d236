"""`profile`: where a worker's CPU time or memory goes, by py-spy and memray; neither is needed for anything else."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from mindbot_supervisor import client
from mindbot_supervisor.errors import OK, Refused

from .options import Subparsers, add_command, socket_path

SECONDS = 10
PATIENCE = 30.0
"""Seconds a tool may take beyond the time that it measures."""
ROWS, COLUMNS = 20, 160
NOT_THERE = "No module named 'memray'"
TOOLS = {"cpu": "py-spy", "memory": "memray"}


def add(commands: Subparsers) -> None:
    parser = add_command(commands, "profile", "Where a worker's CPU time or memory goes.", profile)
    parser.add_argument("worker", metavar="WORKER", help='"slot.generation", such as 0.1, or a slot, such as 0')
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--cpu", dest="what", action="store_const", const="cpu", help="by py-spy, its jobs included")
    what.add_argument("--memory", dest="what", action="store_const", const="memory", help="allocations, by memray")
    parser.add_argument("--seconds", metavar="N", type=int, default=SECONDS, help=f"for how long ({SECONDS})")


def profile(options: argparse.Namespace) -> int:
    if options.seconds < 1:
        raise Refused("--seconds must be at least 1")
    row = _row(client.ask(socket_path(options), "GET", "/status"), options.worker)
    import tempfile  # here and below: other commands start sooner without

    tool = find(TOOLS[options.what])
    sys.stderr.write(f"looking at worker {row['worker']} (pid {row['pid']}) for {options.seconds} s\n")
    with tempfile.TemporaryDirectory(prefix="mindbot-profile-") as folder:
        measure = _cpu if options.what == "cpu" else _memory
        for line in measure(tool, int(row["pid"]), options.seconds, Path(folder) / "profile"):
            print(line)
    return OK


def _row(status: dict[str, Any], name: str) -> dict[str, Any]:
    """The running worker of that name, or of that slot."""
    running = [row for row in status["workers"] if row["pid"]]
    for row in reversed(running):
        if name in (row["worker"], str(row["slot"])):
            return dict(row)
    there = ", ".join(row["worker"] for row in running) or "none"
    raise Refused(f"there is no running worker {name or '(none named)'}; there are {there}")


def find(tool: str) -> str:
    """Beside our own interpreter, else on PATH. Raises Refused with the command that installs it."""
    import shutil
    import sysconfig

    scripts = sysconfig.get_path("scripts")
    found = shutil.which(tool, path=scripts) or shutil.which(tool)
    if found is None:
        raise Refused(f"{tool} is not installed; install it with: pip install {tool}")
    return found


def _cpu(tool: str, pid: int, seconds: int, file: Path) -> list[str]:
    """The functions on top of the stack most often, of the worker and of its job processes."""
    record = [tool, "record", "--pid", str(pid), "--subprocesses", "--duration", str(seconds), "--format", "raw"]
    _run([*record, "--output", str(file)], seconds)
    counts: dict[str, int] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        stack, _, samples = line.rpartition(" ")
        where = stack.rpartition(";")[2]
        counts[where] = counts.get(where, 0) + int(samples)
    total = sum(counts.values())
    if not total:
        return ["it did nothing: no thread was on a CPU"]
    ordered = sorted(counts.items(), key=lambda each: -each[1])[:ROWS]
    return [f"{count / total:6.1%}  {where}" for where, count in ordered]


def _memory(tool: str, pid: int, seconds: int, file: Path) -> list[str]:
    """What is allocated while memray looks on, and still there at its end.

    memray attaches by gdb or lldb and leaves at once; the worker itself writes the file when the time is over.
    """
    _run([tool, "attach", "--aggregate", "--duration", str(seconds), "--output", str(file), str(pid)], seconds)
    until = time.monotonic() + seconds + PATIENCE
    time.sleep(seconds)
    while True:
        try:
            return _run([tool, "summary", "--max-rows", str(ROWS), str(file)], seconds).splitlines()
        except Refused:  # not yet written
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _run(command: list[str], seconds: int) -> str:
    import subprocess

    try:
        limit, wide = seconds + PATIENCE, {**os.environ, "COLUMNS": str(COLUMNS)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=wide, check=False)
    except subprocess.TimeoutExpired as exc:
        raise Refused(f"{Path(command[0]).name} did not end within {exc.timeout:.0f} s") from exc
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        if any(NOT_THERE in line for line in words):
            raise Refused("memray is not installed where the worker runs; install it there with: pip install memray")
        raise Refused(f"{Path(command[0]).name}: {words[-1] if words else f'exit code {done.returncode}'}")
    return done.stdout
