"""The heartbeat protocol: what a worker tells its supervisor, one JSON object a line.

Little but the standard library: the supervisor imports this module and nothing else of the worker.
A line that does not fit is refused with a `BadBeat` that says why; it never harms the reader.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mindbot_config.output import strict_json

VERSION = 1
LINE_MAX = 64 * 1024
"""Bytes of one line, its newline not counted (the public contract)."""

STARTING, READY, DRAINING = "starting", "ready", "draining"
STATES = frozenset({STARTING, READY, DRAINING})

FROM_LOOP, FROM_THREAD = "loop", "thread"
"""Who wrote a beat: the worker's event loop (the default), or the thread that only proves the process runs."""

COMPLETED, FAILED, KILLED = "completed", "failed", "killed"
"""How a call ended: by itself, by an exception in its agent, or with its job process dead."""

CALL_ENDING = "ending"
"""The state of a call whose agent has done its work: what becomes of it now is no loss."""

JOURNALS = "calls"
"""The folder of the runtime directory with what was said in each live call."""
JOURNAL, RECOVERS = "mindbot.journal", "mindbot.recovers"
"""Attributes of a dispatch that continues a call: the name of its journal, and the job that it continues."""
AFTER = "mindbot.after"
"""Where that job's agent still has the call, its identity: until it is out of the room, and the journal has that name,
the new agent does nothing."""

HEARTBEAT_FD = "MINDBOT_HEARTBEAT_FD"
LEASH_FD = "MINDBOT_LEASH_FD"
WORKER_NAME = "MINDBOT_WORKER_NAME"
SLOT = "MINDBOT_SLOT"
RUNTIME_DIR = "MINDBOT_RUNTIME_DIR"

Usage = Mapping[str, Mapping[str, float]]
"""What was used of each provider so far; the counts are those of USAGE, and only grow."""
USAGE = frozenset(
    {
        "requests",
        "errors",
        "rate_limited",  # refused by the provider: 429
        "held",  # not even sent: the provider had asked to wait for longer than a caller can
        "waits",  # began later, because all seats were taken
        "long_waits",  # later by more than a second
        "waited",  # seconds of all waits
        "tokens_in",
        "tokens_out",
        "characters",
        "audio_seconds",
    }
)

Summary = Mapping[str, float | str]
"""What a call was like, told once at its end: numbers and words under short names, such as `response_p95` and `audio`.
Times are seconds unless a name says otherwise."""
SUMMARY_MAX = 40
"""So many entries at most, the rest is left out; a name or a word has 32 characters at most."""
_WORD_MAX = 32

KINDS_MAX, PROVIDERS_MAX = 32, 16
"""So many kinds of errors, and providers, one beat may name; what is beyond counts as OTHER."""
NAME_MAX = 64
"""Characters of such a name; the rest is cut off."""
OTHER = "other"

_TEXT_MAX = 512
_CALLS_MAX = 1024


_PROCESS = "mb "


def process_name(worker: str, role: str = "") -> str:
    """What a process calls itself, for people (`/proc/PID/comm`): the kernel keeps 15 characters of it."""
    return f"{_PROCESS}{worker} {role}".strip()


class BadBeat(ValueError):
    """A line that is no heartbeat; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One live call. `started` is Unix time; `idle` is seconds since either side was last active; `dispatch` is
    LiveKit's id of what sent the agent into the room; `beat_age` is seconds since the event loop of its job process
    last went round, `present` whether anybody but agents is in the room, None where that is not known; `gone` is for
    how many seconds its room has been gone for good, None while it is there.
    """

    room: str
    job: str
    identity: str = ""
    pid: int | None = None
    started: float | None = None
    idle: float = 0.0
    state: str = ""
    dispatch: str = ""
    beat_age: float | None = None
    present: bool | None = None
    gone: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that ended lately; it is repeated in a few beats, so `job` is the key."""

    room: str
    job: str
    outcome: str = COMPLETED
    summary: Summary = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the worker is about to exit: the exit code it will use and one plain sentence."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat. `lag_ms` is how late the worker's loop ran; `idle` is seconds since any activity."""

    seq: int
    state: str
    source: str = FROM_LOOP
    registered: bool | None = None
    worker_id: str = ""
    lag_ms: float = 0.0
    load: float = 0.0
    calls: tuple[Call, ...] = ()
    ended: tuple[Ended, ...] = ()
    errors_total: int = 0
    errors_fatal: int = 0
    errors_by: Mapping[str, int] = field(default_factory=dict)
    errors_of_providers: int = 0
    """Of `errors_total`: what a provider did, and no worker can help."""
    jobs_started: int = 0
    jobs_failed: int = 0
    jobs_storm: int = 0
    pids: tuple[int, ...] = ()
    idle: float | None = None
    usage: Usage = field(default_factory=dict)
    """Of all calls since the worker began."""
    problem: str = ""
    """What keeps the worker from being registered, in one plain sentence; empty when nothing does."""
    failure: Failure | None = None


def journal_name(room: str, job: str) -> str:
    """The file name of a call's journal. Rooms are named by anybody, so no part of a name gets into a path."""
    return hashlib.sha256(f"{room}\0{job}".encode(errors="replace")).hexdigest()[:32]


def is_journal_name(name: str) -> bool:
    """Whether `journal_name` could have made it."""
    return len(name) == 32 and set(name) <= set("0123456789abcdef")


def added(parts: Iterable[Usage]) -> dict[str, dict[str, float]]:
    """The sum of usages, without its zeros."""
    total: dict[str, dict[str, float]] = {}
    for part in parts:
        for provider, counts in part.items():
            into = total.setdefault(provider, {})
            for name, amount in counts.items():
                if amount:
                    into[name] = into.get(name, 0) + amount
    return {provider: counts for provider, counts in total.items() if counts}


def grown(before: Usage, after: Usage) -> dict[str, dict[str, float]]:
    """What was used between two readings."""
    return {
        provider: {name: max(amount - before.get(provider, {}).get(name, 0), 0) for name, amount in counts.items()}
        for provider, counts in after.items()
    }


def rounded(usage: Usage) -> dict[str, dict[str, float]]:
    """As people want to see it, and no longer on the wire than it need be: at most PROVIDERS_MAX, and OTHER."""
    return {
        provider: {name: round(amount, 2) if amount % 1 else int(amount) for name, amount in counts.items()}
        for provider, counts in few_providers(usage).items()
    }


def few_kinds(counts: Mapping[str, int]) -> Mapping[str, int]:
    """At most KINDS_MAX kinds of errors, those that came first, with all others summed up as OTHER."""
    if len(counts) <= KINDS_MAX and all(len(kind) <= NAME_MAX for kind in counts):
        return counts
    few: dict[str, int] = {}
    for kind, count in counts.items():
        name = kind[:NAME_MAX]
        name = name if name in few or len(few) < KINDS_MAX else OTHER
        few[name] = few.get(name, 0) + count
    return few


def few_providers(usage: Usage) -> Usage:
    """At most PROVIDERS_MAX providers, those that came first, with the use of all others summed up as OTHER."""
    if len(usage) <= PROVIDERS_MAX and all(len(provider) <= NAME_MAX for provider in usage):
        return usage
    few: dict[str, dict[str, float]] = {}
    for provider, counts in usage.items():
        name = provider[:NAME_MAX]
        into = few.setdefault(name if name in few or len(few) < PROVIDERS_MAX else OTHER, {})
        for each, amount in counts.items():
            into[each] = into.get(each, 0) + amount
    return few


def is_summary(value: object) -> bool:
    """Whether it is small enough, and holds nothing but numbers and words."""
    return (
        isinstance(value, dict)
        and len(value) <= SUMMARY_MAX
        and all(isinstance(name, str) and len(name) <= _WORD_MAX and _is_entry(each) for name, each in value.items())
    )


def _is_entry(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _WORD_MAX
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12  # no NaN either


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
    return _beat(_Fields(wire, ""))


def _no_constant(name: str) -> NoReturn:
    raise BadBeat(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _beat(top: _Fields) -> Beat:
    """Only what is there is read: a supervisor of many workers decodes a thousand beats a second."""
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
    """Whether its reader would take the value as it is: most of a beat, at a fraction of the cost."""
    kind = type(value)
    if kind is not _PLAIN.get(key):
        return False
    if kind is float:
        return bool(-1e15 < value < 1e15)
    return kind is bool or len(value) <= _TEXT_MAX


def _errors(top: _Fields) -> dict[str, Any]:
    errors = top.object("errors")
    by = errors.object("by")
    return {
        "errors_total": errors.count("total"),
        "errors_fatal": errors.count("fatal"),
        "errors_by": few_kinds({kind: by.count(kind) for kind in by.names()}),
        "errors_of_providers": errors.count("of_providers"),
    }


def _jobs(top: _Fields) -> dict[str, Any]:
    jobs = top.object("jobs")
    return {
        "jobs_started": jobs.count("started"),
        "jobs_failed": jobs.count("failed"),
        "jobs_storm": jobs.count("storm"),
    }


def _usage(top: _Fields) -> dict[str, Any]:
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


def _ended(top: _Fields) -> dict[str, Any]:
    return {
        "ended": tuple(
            Ended(e.text("room", None), e.text("job", None), e.text("outcome", COMPLETED), _summary(e))
            for e in top.objects("ended")
        )
    }


def _summary(each: _Fields) -> Summary:
    summary = each.object("summary").values
    if not is_summary(summary):
        raise BadBeat(f"{each.where}summary is not {SUMMARY_MAX} numbers and short words at most")
    return summary


def _failure(top: _Fields) -> dict[str, Any]:
    failure = top.object("failure")
    return {"failure": Failure(failure.count("code", 1), failure.text("message"))} if failure.names() else {}


def _call(each: _Fields) -> Call:
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


_READERS: Mapping[str, Callable[[_Fields], dict[str, Any]]] = {
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


@dataclass(slots=True)
class _Fields:
    """Reads typed values out of a JSON object; a missing or null key is its default, a wrong type is refused.

    A default of None means that the key is required.
    """

    values: Mapping[str, Any]
    where: str

    def names(self) -> list[str]:
        return list(self.values)

    def _get(self, key: str, required: bool) -> Any:
        value = self.values.get(key)
        if value is None and required:
            raise BadBeat(f"{self.where}{key} is missing")
        return value

    def text(self, key: str, default: str | None = "") -> str:
        value = self._get(key, default is None)
        if value is None:
            return default or ""
        if not isinstance(value, str):
            raise BadBeat(f"{self.where}{key} is not a string")
        return value[:_TEXT_MAX]

    def count(self, key: str, default: int | None = 0) -> int:
        value = self.values.get(key)
        if type(value) is int and 0 <= value < 2**53:  # nearly always
            return value
        value = self._get(key, default is None)
        if value is None:
            return default or 0
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
            raise BadBeat(f"{self.where}{key} is not a whole number of 0 or more")
        return value

    def number_or_none(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e15:
            raise BadBeat(f"{self.where}{key} is not a number")
        return float(value) if math.isfinite(value) else 0.0

    def number(self, key: str) -> float:
        return self.number_or_none(key) or 0.0

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise BadBeat(f"{self.where}{key} is neither true nor false")
        return value

    def pid(self, key: str) -> int | None:
        value = self.values.get(key)
        return None if value is None else _pid(value, f"{self.where}{key}")

    def pids(self, key: str) -> tuple[int, ...]:
        return tuple(_pid(value, f"{self.where}{key}") for value in self._list(key))

    def object(self, key: str) -> _Fields:
        value = self.values.get(key, {})
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise BadBeat(f"{self.where}{key} is not an object")
        return _Fields(value, f"{self.where}{key}.")

    def objects(self, key: str) -> list[_Fields]:
        items = self._list(key)
        if not all(isinstance(item, dict) for item in items):
            raise BadBeat(f"{self.where}{key} holds something that is not an object")
        return [_Fields(item, f"{self.where}{key}.") for item in items]

    def _list(self, key: str) -> list[Any]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise BadBeat(f"{self.where}{key} is not a list")
        if len(value) > _CALLS_MAX:
            raise BadBeat(f"{self.where}{key} has more than {_CALLS_MAX} entries")
        return value


def _pid(value: object, name: str) -> int:
    # 0 and 1 would name our own group and init: a beat must never make us touch those.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 < value < 2**31:
        raise BadBeat(f"{name} is not a process id")
    return value
