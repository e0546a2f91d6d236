"""`explain`: why a worker is as it is, what happens next and when; of an ended one, how it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import typer

from mindbot_config.output import strict_json
from mindbot_config.output.printable import printable_lines
from mindbot_supervisor import client
from mindbot_supervisor.cli import options
from mindbot_supervisor.cli.options import Flags, flags_of, load, socket_path
from mindbot_supervisor.cli.terminal import output
from mindbot_supervisor.cli.typer_classes import Command, new_app
from mindbot_supervisor.client import expected_from
from mindbot_supervisor.errors import Unavailable

NEAR = 0.01
"""Share of its limit above which a rule is shown by itself; the others are summed up."""
SHOWN = 12
"""Lines of each part of a flight record that are shown; --json has them all."""

app = new_app()


@app.command("explain", cls=Command)
def explain(
    context: typer.Context,
    worker: options.Worker,
    as_json: options.Json = False,
    config: options.Config = None,
    socket: options.Socket = None,
) -> None:
    """Why a worker is as it is, and what happens next."""
    flags = flags_of(context)
    path = socket_path(flags)
    try:
        answer = client.ask(path, "GET", f"/explain?worker={quote(worker, safe='', errors='replace')}")
    except Unavailable as exc:
        answer = _from_disk(flags, worker, exc)
        output.note(f"mindbot-supervisor: note: {exc}; this is from its journal")
    if as_json:
        output.say_json(answer)
        return
    with expected_from(path):
        lines = list(render(answer))
    output.say(*lines)


def _from_disk(flags: Flags, worker: str, without: Unavailable) -> dict[str, Any]:
    """The newest journal entry of the worker, or of the slot. Raises Unavailable where there is none."""
    from mindbot_config.files.paths import resolve
    from mindbot_supervisor.observability.flight_journal import newest_first

    folder = resolve(load(flags).settings, os.environ, os.geteuid()).state_dir / "flight"
    try:
        for entry in newest_first(folder):
            if worker in (entry["worker"], str(entry.get("slot"))):
                return {**entry, "alive": False, "source": "journal"}
    except OSError as exc:
        raise Unavailable(f"{without}, and its journal in {folder} cannot be read: {exc.strerror}") from exc
    raise Unavailable(f"{without}, and its journal in {folder} does not tell of a worker {worker}") from without


# -- for people --------------------------------------------------------------------------------------------------------


def render(answer: dict[str, Any]) -> Iterator[str]:
    if answer["alive"]:
        yield from _living(answer)
    elif answer["worker"] is None:
        yield f"slot {answer['slot']}: empty"
    else:
        yield from _dead(answer)
    yield from _next(answer)
    if answer["alive"] and answer["last_exit"]:
        last = answer["last_exit"]
        yield f"before: worker {last['worker']} {_ending(last)}"
    yield from _record(answer)


def _living(answer: dict[str, Any]) -> Iterator[str]:
    row = answer["status"]
    calls, up = len(row.get("calls", ())), row.get("uptime", 0)
    yield f"worker {answer['worker']}: {answer['phase']}, pid {row.get('pid')}, {calls} calls, up {up:.0f} s"
    yield from (f"stalled: call {each['room']}: {_stall(each)}" for each in answer["stalled"])
    for title, verdict in (("leaving", answer["leaving"]), ("found", answer["found"])):
        if verdict is not None:
            yield f"{title}: {_verdict(verdict)}"
    if not answer["leaving"] and not answer["found"] and not answer["stalled"]:
        yield "found: nothing against it"
    if answer["held"]:
        yield f"held: no soft restarts now ({answer['held']['reason']}: {answer['held']['detail']})"
    if answer["leak"]:
        leak = answer["leak"]
        when = f"; it meets its limit in {leak['limit_in']} s" if leak.get("limit_in") is not None else ""
        yield f"leak: its memory grows by {leak.get('mb_per_hour')} MiB an hour{when}"
    near = [rule for rule in answer["rules"] if rule["share"] >= NEAR]
    for rule in near:
        of = f"{rule['value']:g} of {rule['limit']:g} {rule['unit']}"
        yield f"rule {rule['reason']} ({rule['urgency']}): {of}, {rule['share']:.0%} of the limit"
    if len(near) < len(answer["rules"]):
        yield f"{len(answer['rules']) - len(near)} {'other ' if near else ''}rules: nowhere near their limits"


def _dead(answer: dict[str, Any]) -> Iterator[str]:
    yield f"worker {answer['worker']} {_ending(answer)}"
    if answer.get("evidence"):
        yield f"evidence: {_fields(answer['evidence'])}"
    if answer.get("successor"):
        yield f"its slot is filled by worker {answer['successor']}"


def _ending(entry: dict[str, Any]) -> str:
    how = entry.get("signal") or (f"code {entry['code']}" if entry.get("code") is not None else "no exit status")
    when = datetime.fromtimestamp(entry["at"], UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    up, calls = entry.get("uptime", 0.0), entry.get("calls", 0)
    detail = f": {entry['detail']}" if entry.get("detail") else ""
    reason = f", reason {entry['reason']}" if entry.get("reason") else ""
    return f"ended at {when}: {entry.get('verdict')} ({how}){reason}, after {up:.0f} s, with {calls} calls{detail}"


def _next(answer: dict[str, Any]) -> Iterator[str]:
    for coming in answer.get("next", ()):
        when = f"in {coming['in']:g} s: " if coming["in"] is not None else ""
        yield f"next: {when}{coming['what']}"


def _record(answer: dict[str, Any]) -> Iterator[str]:
    """The end of the flight record, seconds before the end (of a living one: before now)."""
    for title in ("changes", "samples", "beats"):
        rows = answer.get(title, ())[-SHOWN if title == "changes" else -1 :]
        for row in rows:
            rest = _fields({key: value for key, value in row.items() if key not in ("at", "event")})
            yield f"{title.removesuffix('s')} {row['at']:+.1f} s  {row.get('event', '')} {rest}".rstrip()
    for line in answer.get("log", ())[-SHOWN:]:
        yield f"log {line}"
    if answer.get("stack"):
        yield "stack:"
        yield from (f"  {line}" for line in printable_lines(answer["stack"].rstrip("\n")))


def _stall(stall: dict[str, Any]) -> str:
    what = "is stopped" if stall["stopped"] else f"is in {stall['where']}" if stall["where"] else "does not beat"
    then = "it is left alone" if stall["spared"] else f"killed after {stall['limit']:g}"
    return f"its process {stall['pid']} {what}, silent for {stall['seconds']:g} s ({then})"


def _verdict(verdict: dict[str, Any]) -> str:
    if verdict["reason"] == "hung" and verdict["urgency"] == "warn":
        how = f": {verdict['detail']}" if verdict.get("detail") else ""
        return f"silent for {verdict['value']:.1f} s (suspect after {verdict['limit']:g}){how}"
    evidence = _fields({key: value for key, value in verdict.items() if key not in ("reason", "urgency")})
    return f"{verdict['reason']} ({verdict['urgency']}) {evidence}".rstrip()


def _fields(values: dict[str, Any]) -> str:
    shown = {key: value for key, value in values.items() if value not in (None, "", [], {})}
    return " ".join(f"{key}={_plain(value)}" for key, value in shown.items())


def _plain(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else strict_json.dumps(value)
