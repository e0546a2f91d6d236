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
        lines, rows = headlines(answer), [cells(row) for row in urgent_first(answer["workers"])]
    output.say(*lines)
    tables.show(titles(), rows, numbers=NUMBERS, styles=STYLES)


def render(answer: dict[str, Any]) -> str:
    """The status as plain text."""
    rows = [cells(row) for row in urgent_first(answer["workers"])]
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
    lines += [f"{title}: {_helper(daemon[key])}" for title, key in HELPERS if daemon.get(key)]
    return lines + [f"failing: {_failing(each)}" for each in daemon.get("unhealthy") or ()]


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


def _failing(each: dict[str, Any]) -> str:
    return f"{each['name']}, for {_time(each['for'])}: {each['error']}"


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
    notes = [f"leaving: {row['leaving']}"] if row.get("leaving") else []
    if row.get("suspect"):
        notes.append(f"suspect: no heartbeat for {row['silence']:.0f} s")
    if stalled := _stalled(row):
        notes.append(_stalls(stalled))
    return "; ".join(notes) or str(row.get("problem") or ("not registered" if row.get("registered") is False else ""))


def urgent_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Workers that are not heard, or have calls that are not, stand before the others."""
    return sorted(rows, key=lambda row: not (row.get("suspect") or _stalled(row)))


def _stalled(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of this worker whose job processes do not beat, the longest first."""
    calls = row.get("calls")
    stalled = [call for call in calls if call.get("stalled") is not None] if isinstance(calls, list) else []
    return sorted(stalled, key=lambda call: -float(call["stalled"]["seconds"]))


def _stalls(calls: list[dict[str, Any]]) -> str:
    longest = calls[0]["stalled"]
    what = "stopped" if longest["stopped"] else longest["where"] or "does not beat"
    silent = "1 call" if len(calls) == 1 else f"{len(calls)} calls"
    return f"{silent} silent for {longest['seconds']:.0f} s (job {calls[0]['pid']}: {what})"


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
