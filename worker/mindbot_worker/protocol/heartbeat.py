"""Encodes and decodes heartbeats: what a worker tells its supervisor, one JSON object a line.

The fields are in `heartbeat_model`; every name that is exchanged beside them can be imported from here as well.
A line that does not fit is refused with a `BadBeat` that says why; it never harms the reader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from mindbot_config.output import strict_json
from mindbot_worker.protocol.heartbeat_model import (
    CALL_ENDING,
    COMPLETED,
    DRAINING,
    FAILED,
    FROM_LOOP,
    FROM_THREAD,
    KILLED,
    READY,
    STARTING,
    STATES,
    Beat,
    Call,
    Ended,
    Failure,
)
from mindbot_worker.protocol.json_fields import TEXT_MAX, BadBeat, Fields
from mindbot_worker.protocol.usage_counts import (
    KINDS_MAX,
    NAME_MAX,
    OTHER,
    PROVIDERS_MAX,
    SUMMARY_MAX,
    USAGE,
    Summary,
    Usage,
    added,
    few_kinds,
    few_providers,
    grown,
    is_summary,
    rounded,
)
from mindbot_worker.protocol.worker_environment import (
    AFTER,
    HEARTBEAT_FD,
    JOURNAL,
    JOURNALS,
    LEASH_FD,
    RECOVERS,
    RUNTIME_DIR,
    SLOT,
    WORKER_NAME,
    is_journal_name,
    journal_name,
    process_name,
)

__all__ = (
    "AFTER",
    "CALL_ENDING",
    "COMPLETED",
    "DRAINING",
    "FAILED",
    "FROM_LOOP",
    "FROM_THREAD",
    "HEARTBEAT_FD",
    "JOURNAL",
    "JOURNALS",
    "KILLED",
    "KINDS_MAX",
    "LEASH_FD",
    "LINE_MAX",
    "NAME_MAX",
    "OTHER",
    "PROVIDERS_MAX",
    "READY",
    "RECOVERS",
    "RUNTIME_DIR",
    "SLOT",
    "STARTING",
    "STATES",
    "SUMMARY_MAX",
    "USAGE",
    "VERSION",
    "WORKER_NAME",
    "BadBeat",
    "Beat",
    "Call",
    "Ended",
    "Failure",
    "Summary",
    "Usage",
    "added",
    "decode",
    "encode",
    "few_kinds",
    "few_providers",
    "grown",
    "is_journal_name",
    "is_summary",
    "journal_name",
    "process_name",
    "rounded",
)

VERSION = 1
LINE_MAX = 64 * 1024
"""Bytes of one line, its newline not counted (the public contract)."""


def encode(beat: Beat) -> bytes:
    """The line for `beat`, newline included. Raises ValueError if it would be longer than LINE_MAX."""
    wire: dict[str, Any] = {"v": VERSION, "seq": beat.seq, "state": beat.state}
    if beat.source != FROM_LOOP:
        wire["source"] = beat.source
    else:
        wire |= _body(beat)
    line = strict_json.dump_bytes(wire, compact=True)
    if len(line) > LINE_MAX:
        raise ValueError(f"a heartbeat of {len(line)} bytes is over the {LINE_MAX} allowed")
    return line + b"\n"


def _body(beat: Beat) -> dict[str, Any]:
    body: dict[str, Any] = {
        "registered": beat.registered,
        "worker_id": beat.worker_id,
        "lag_ms": round(beat.lag_ms, 2),
        "load": round(beat.load, 3),
        "calls": [_call_told(call) for call in beat.calls],
        "errors": _errors_told(beat),
        "jobs": {"started": beat.jobs_started, "failed": beat.jobs_failed, "storm": beat.jobs_storm},
        "pids": list(beat.pids),
        "idle": beat.idle,
    }
    if beat.ended:
        body["ended"] = [_told(each) for each in beat.ended]
    if beat.usage:
        body["usage"] = rounded(beat.usage)
    if beat.problem:
        body["problem"] = beat.problem
    if beat.failure is not None:
        body["failure"] = {"code": beat.failure.code, "message": beat.failure.message}
    return body


def _call_told(call: Call) -> dict[str, Any]:
    told: dict[str, Any] = {
        "room": call.room,
        "job": call.job,
        "identity": call.identity,
        "pid": call.pid,
        "started": call.started,
        "idle": round(call.idle, 2),
        "state": call.state,
        "dispatch": call.dispatch,
    }
    told |= {} if call.beat_age is None else {"beat_age": round(call.beat_age, 2)}
    told |= {} if call.present is None else {"present": call.present}
    return told if call.gone is None else told | {"gone": round(call.gone, 2)}


def _errors_told(beat: Beat) -> dict[str, Any]:
    told = {"total": beat.errors_total, "fatal": beat.errors_fatal, "by": dict(few_kinds(beat.errors_by))}
    return told | ({"of_providers": beat.errors_of_providers} if beat.errors_of_providers else {})


def _told(ended: Ended) -> dict[str, Any]:
    told: dict[str, Any] = {"room": ended.room, "job": ended.job, "outcome": ended.outcome}
    return told | ({"summary": dict(ended.summary)} if ended.summary else {})


def decode(line: bytes) -> Beat:
    """The beat in `line`. Raises BadBeat, and nothing else, whatever the bytes are."""
    if len(line) > LINE_MAX:
        raise BadBeat(f"longer than {LINE_MAX} bytes")
    try:
        wire = _DECODER.decode(line.decode())
    except BadBeat:
        raise
    except (ValueError, RecursionError) as exc:
        raise BadBeat("not JSON" if isinstance(exc, ValueError) else "nested too deeply") from exc
    if not isinstance(wire, dict):
        raise BadBeat("not a JSON object")
    if wire.get("v") != VERSION or isinstance(wire["v"], bool):
        raise BadBeat(f"version is not {VERSION}")
    return _beat(Fields(wire, ""))


def _no_constant(name: str) -> NoReturn:
    raise BadBeat(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _beat(top: Fields) -> Beat:
    """Make a Beat of the fields that are there: a supervisor of many workers decodes a thousand beats a second."""
    seq, state = top.count("seq", None), top.text("state", None)
    if state not in STATES:
        raise BadBeat(f"state is not one of {', '.join(sorted(STATES))}")
    found: dict[str, Any] = {}
    for key, value in top.values.items():
        if _is_plain(key, value):
            found[key] = value
        elif value is not None and (value != [] or key not in _LISTS) and (read := _READERS.get(key)) is not None:
            found.update(read(top))
    return Beat(seq=seq, state=state, **found)


_PLAIN: Mapping[str, type] = {
    "source": str,
    "registered": bool,
    "worker_id": str,
    "lag_ms": float,
    "load": float,
    "idle": float,
    "problem": str,
}
_LISTS = frozenset({"calls", "ended", "pids"})


def _is_plain(key: str, value: Any) -> bool:
    """Whether a value needs no reader, as it has the right type and size: quick, and true for most of a beat."""
    kind = type(value)
    if kind is not _PLAIN.get(key):
        return False
    if kind is float:
        return bool(-1e15 < value < 1e15)
    return kind is bool or len(value) <= TEXT_MAX


def _errors(top: Fields) -> dict[str, Any]:
    errors = top.object("errors")
    by = errors.object("by")
    return {
        "errors_total": errors.count("total"),
        "errors_fatal": errors.count("fatal"),
        "errors_by": few_kinds({kind: by.count(kind) for kind in by.names()}),
        "errors_of_providers": errors.count("of_providers"),
    }


def _jobs(top: Fields) -> dict[str, Any]:
    jobs = top.object("jobs")
    return {
        "jobs_started": jobs.count("started"),
        "jobs_failed": jobs.count("failed"),
        "jobs_storm": jobs.count("storm"),
    }


def _usage(top: Fields) -> dict[str, Any]:
    usage = top.object("usage")
    counts = {provider: usage.object(provider) for provider in usage.names()}
    return {
        "usage": few_providers(
            {
                provider: {name: max(each.number(name), 0) for name in each.names() if name in USAGE}
                for provider, each in counts.items()
            }
        )
    }


def _ended(top: Fields) -> dict[str, Any]:
    return {
        "ended": tuple(
            Ended(e.text("room", None), e.text("job", None), e.text("outcome", COMPLETED), _summary(e))
            for e in top.objects("ended")
        )
    }


def _summary(each: Fields) -> Summary:
    summary = each.object("summary").values
    if not is_summary(summary):
        raise BadBeat(f"{each.where}summary is not {SUMMARY_MAX} numbers and short words at most")
    return summary


def _failure(top: Fields) -> dict[str, Any]:
    failure = top.object("failure")
    return {"failure": Failure(failure.count("code", 1), failure.text("message"))} if failure.names() else {}


def _call(each: Fields) -> Call:
    return Call(
        room=each.text("room", None),
        job=each.text("job", None),
        identity=each.text("identity"),
        pid=each.pid("pid"),
        started=each.number_or_none("started"),
        idle=each.number("idle"),
        state=each.text("state"),
        dispatch=each.text("dispatch"),
        beat_age=each.number_or_none("beat_age"),
        present=each.flag("present"),
        gone=each.number_or_none("gone"),
    )


_READERS: Mapping[str, Callable[[Fields], dict[str, Any]]] = {
    "source": lambda top: {"source": top.text("source", FROM_LOOP)},
    "registered": lambda top: {"registered": top.flag("registered")},
    "worker_id": lambda top: {"worker_id": top.text("worker_id")},
    "lag_ms": lambda top: {"lag_ms": top.number("lag_ms")},
    "load": lambda top: {"load": top.number("load")},
    "calls": lambda top: {"calls": tuple(_call(each) for each in top.objects("calls"))},
    "ended": _ended,
    "errors": _errors,
    "jobs": _jobs,
    "pids": lambda top: {"pids": top.pids("pids")},
    "idle": lambda top: {"idle": top.number_or_none("idle")},
    "problem": lambda top: {"problem": top.text("problem")},
    "usage": _usage,
    "failure": _failure,
}
