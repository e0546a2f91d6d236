"""`profile`: where a worker's CPU time or memory goes, by py-spy and memray; neither is needed for anything else."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mindbot_supervisor import client
from mindbot_supervisor.cli import options
from mindbot_supervisor.cli.options import flags_of, socket_path
from mindbot_supervisor.cli.terminal import output
from mindbot_supervisor.cli.typer_classes import Command, new_app
from mindbot_supervisor.client import expected_from
from mindbot_supervisor.errors import BadUsage, Refused
from mindbot_supervisor.processes.launching.child_environment import for_children

SECONDS, SECONDS_MAX = 10, 3600
PATIENCE = 30.0
"""Seconds a tool may take beyond the time that it measures."""
ROWS, COLUMNS = 20, 160
NOT_THERE = "No module named 'memray'"


app = new_app()


@app.command("profile", cls=Command)
def profile(
    context: typer.Context,
    worker: options.Worker,
    cpu: Annotated[bool, typer.Option("--cpu", help="CPU time, its jobs included: by py-spy")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="allocations: by memray")] = False,
    seconds: Annotated[int, typer.Option(metavar="N", min=1, max=SECONDS_MAX, help="for how long")] = SECONDS,
    socket: options.Socket = None,
) -> None:
    """Where a worker's CPU time or memory goes."""
    if cpu == memory:
        raise BadUsage("one of --cpu and --memory must be given; see mindbot-supervisor profile --help")
    path = socket_path(flags_of(context))
    status = client.ask(path, "GET", "/status")
    with expected_from(path):
        row = _row(status, worker)
        name, pid = row["worker"], int(row["pid"])
    import tempfile  # here and below: other commands start sooner without

    tool = find("py-spy" if cpu else "memray")
    output.note(f"looking at worker {name} (pid {pid}) for {seconds} s")
    with tempfile.TemporaryDirectory(prefix="mindbot-profile-") as folder:
        measure = _cpu if cpu else _memory
        output.say(*measure(tool, pid, seconds, Path(folder) / "profile"))


def _row(status: dict[str, Any], name: str) -> dict[str, Any]:
    """The running worker of that name, or of that slot."""
    running = [row for row in status["workers"] if row.get("pid")]
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
    text = file.read_bytes().decode(errors="backslashreplace") if file.exists() else ""
    for line in text.split("\n"):
        stack, _, samples = line.rpartition(" ")
        where = stack.rpartition(";")[2]
        if samples.isdecimal():
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
        limit, wide = seconds + PATIENCE, {**for_children(os.environ), "COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=limit,
            env=wide,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise Refused(f"{Path(command[0]).name} did not end within {exc.timeout:.0f} s") from exc
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        if any(NOT_THERE in line for line in words):
            raise Refused("memray is not installed where the worker runs; install it there with: pip install memray")
        raise Refused(f"{Path(command[0]).name}: {words[-1] if words else f'exit code {done.returncode}'}")
    return done.stdout
