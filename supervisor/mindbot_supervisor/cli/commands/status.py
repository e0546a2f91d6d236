"""`status`: the pool at a glance."""

from __future__ import annotations

from typing import Any

import typer

from mindbot_supervisor import client
from mindbot_supervisor.cli import options
from mindbot_supervisor.cli.options import flags_of, socket_path
from mindbot_supervisor.cli.terminal import output, tables
from mindbot_supervisor.cli.typer_classes import Command, new_app
from mindbot_supervisor.client import expected_from

COLUMNS = (
    ("WORKER", "worker"),
    ("PHASE", "phase"),
    ("PID", "pid"),
    ("CALLS", "calls"),
    ("ERRORS", "errors_in_window"),
    ("LAG ms", "lag_ms"),
    ("PSS MB", "pss_mb"),
    ("CPU %", "cpu_percent"),
    ("UP", "uptime"),
    ("RESTARTS", "restarts"),
    ("NOTE", "note"),
)
NUMBERS = frozenset(range(2, 10))
"""The columns that stand to the right on a terminal."""
STYLES = {
    "ready": "green",
    "starting": "cyan",
    "draining": "yellow",
    "backoff": "yellow",
    "killing": "red",
    "parked": "bold red",
    "drained": "dim",
}
HELPERS = (("template", "template"), ("job server", "jobserver"))
"""What works for all workers together."""

app = new_app()


@app.command("status", cls=Command)
def status(context: typer.Context, as_json: options.Json = False, socket: options.Socket = None) -> None:
    """The pool at a glance."""
    path = socket_path(flags_of(context))
    answer = client.ask(path, "GET", "/status")
    if as_json:
        output.say_json(answer)
        return
    with expected_from(path):
        lines, rows = headlines(answer), [cells(row) for row in answer["workers"]]
    output.say(*lines)
    tables.show(titles(), rows, numbers=NUMBERS, styles=STYLES)


def render(answer: dict[str, Any]) -> str:
    """The status as plain text."""
    rows = [cells(row) for row in answer["workers"]]
    return "\n".join([*headlines(answer), *tables.plain([titles(), *rows])])


def titles() -> list[str]:
    return [title for title, _ in COLUMNS]


def headlines(answer: dict[str, Any]) -> list[str]:
    """What is said of the pool as a whole."""
    daemon, calls = answer["supervisor"], answer["calls"]
    ready = sum(row.get("phase") == "ready" for row in answer["workers"])
    held = f", held: {daemon['held']}" if daemon.get("held") else ""
    lines = [
        f"{ready} of {daemon['workers_wanted']} workers ready, up {_time(daemon['uptime'])}, {daemon['mode']}{held}",
        f"calls: {calls['active']} active, {calls['ended']} ended, {calls['recovered']} recovered, "
        f"{calls['migrated']} migrated, {calls['lost']} lost, {calls['cut_by_us']} cut",
    ]
    return lines + [f"{title}: {_helper(daemon[key])}" for title, key in HELPERS if daemon.get(key)]


def cells(row: dict[str, Any]) -> list[str]:
    """One row of the table; what a slot without a worker does not have is a dash."""
    return [_cell(row, key) for _, key in COLUMNS]


def _cell(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    match key:
        case "note":
            return _note(row)
        case "worker":
            return str(value if value is not None else row["slot"])
        case "calls" if isinstance(value, list):
            return str(len(value))
        case "uptime" if value is not None and row.get("pid") is not None:
            return _time(value)
        case "uptime":
            return "-"
    return _or_dash(value)


def _helper(each: dict[str, Any]) -> str:
    return f"pid {each['pid']}, {_or_dash(each['memory_mb'])} MB, {_or_dash(each['cpu_percent'])} % CPU"


def _or_dash(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "-" if value is None else str(value)


def _note(row: dict[str, Any]) -> str:
    """What an operator would ask about this row first."""
    if row["phase"] in ("parked", "backoff") and row.get("retry_in") is not None:
        return f"next try in {row['retry_in']:.0f} s"
    if row["phase"] == "drained":
        return f"empty until `restart {row['slot']}`"
    if row.get("leaving"):
        return f"leaving: {row['leaving']}"
    if row.get("suspect"):
        return "suspect: no heartbeat"
    return str(row.get("problem") or ("not registered" if row.get("registered") is False else ""))


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
