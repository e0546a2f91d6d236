"""Follows a rolling update to its end: a bar on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mindbot_supervisor import client
from mindbot_supervisor.cli.terminal import output
from mindbot_supervisor.client import expected_from
from mindbot_supervisor.errors import Refused

LOOK_EVERY = 0.2
"""Seconds between two looks."""


def follow(path: Path, nothing: str = "") -> None:
    """Until the rolling update has ended; `nothing` is said where there was nothing to replace.

    Raises Refused where it stopped early.
    """
    shown = _on_terminal if output.on_terminal() else _in_lines
    last = shown(_steps(path), nothing)
    if last and last.get("detail"):
        raise Refused(f"stopped after {last['done']} of {last['total']}: {last['detail']}")


def _steps(path: Path) -> Iterator[dict[str, Any]]:
    """The rolling update as it is now and after each look, up to its end."""
    while True:
        answer = client.ask(path, "GET", "/status")
        with expected_from(path):
            rollout = answer["supervisor"]["rollout"]
            if rollout is None:
                return
            step = {**rollout, "done": int(rollout["done"]), "total": int(rollout["total"])}
            active = bool(rollout["active"])
        yield step
        if not active:
            return
        time.sleep(LOOK_EVERY)


def _in_lines(steps: Iterator[dict[str, Any]], nothing: str) -> dict[str, Any] | None:
    step, said = None, ""
    for step in steps:
        line = _line(step, nothing)
        if line != said:
            output.say(line)
            said = line
    return step


def _on_terminal(steps: Iterator[dict[str, Any]], nothing: str) -> dict[str, Any] | None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    step = None
    with Progress(BarColumn(), TextColumn("{task.fields[line]}", markup=False), TimeElapsedColumn()) as progress:
        task = progress.add_task("", total=None, line="")
        for step in steps:
            progress.update(task, completed=step["done"], total=max(step["total"], 1), line=_line(step, nothing))
    return step


def _line(step: dict[str, Any], nothing: str) -> str:
    if not step["total"] and nothing:
        return nothing
    return f"{step['done']} of {step['total']} replaced"
