"""`status`: the pool at a glance."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mindbot_supervisor import client

from .common import Subparsers, add_command, socket_path

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

HELPERS = (("template", "template"), ("job server", "jobserver"))
"""What works for all workers together."""


def add(commands: Subparsers) -> None:
    parser = add_command(commands, "status", "The pool at a glance.", status)
    parser.add_argument("--json", action="store_true", help="the whole status as JSON")


def status(options: argparse.Namespace) -> int:
    answer = client.ask(socket_path(options), "GET", "/status")
    print(json.dumps(answer) if options.json else render(answer))
    return 0


def render(answer: dict[str, Any]) -> str:
    """The status as a table for people."""
    daemon, calls = answer["supervisor"], answer["calls"]
    ready = sum(row["phase"] == "ready" for row in answer["workers"])
    held = f", held: {daemon['held']}" if daemon["held"] else ""
    lines = [
        f"{ready} of {daemon['workers_wanted']} workers ready, up {_time(daemon['uptime'])}, {daemon['mode']}{held}",
        f"calls: {calls['active']} active, {calls['ended']} ended, {calls['recovered']} recovered, "
        f"{calls['migrated']} migrated, {calls['lost']} lost, {calls['cut_by_us']} cut",
    ]
    lines += [f"{title}: {_helper(daemon[key])}" for title, key in HELPERS if key in daemon]
    urgent_first = sorted(answer["workers"], key=lambda row: not (row["suspect"] or _stalled(row)))
    rows = [[title for title, _ in COLUMNS], *([_cell(row, key) for _, key in COLUMNS] for row in urgent_first)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _cell(row: dict[str, Any], key: str) -> str:
    if key == "note":
        return _note(row)
    value = row[key]
    if value is not None and key == "calls":
        return str(len(value))
    if value is not None and key == "uptime":
        return _time(value)
    return _or_dash(value)


def _helper(each: dict[str, Any]) -> str:
    return f"pid {each['pid']}, {_or_dash(each['memory_mb'])} MB, {_or_dash(each['cpu_percent'])} % CPU"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _note(row: dict[str, Any]) -> str:
    """What an operator would ask about this row first."""
    if row["phase"] in ("parked", "backoff"):
        return f"next try in {row['retry_in']:.0f} s"
    notes = [f"leaving: {row['leaving']}"] if row["leaving"] else []
    if row["suspect"]:
        notes.append(f"suspect: no heartbeat for {row['silence']:.0f} s")
    if stalled := _stalled(row):
        notes.append(_stalls(stalled))
    return "; ".join(notes) or row["problem"] or ("not registered" if row["registered"] is False else "")


def _stalled(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of this worker whose job processes do not beat, the longest first."""
    stalled = [call for call in row["calls"] if call["stalled"] is not None]
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
