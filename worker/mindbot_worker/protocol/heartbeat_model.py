"""What a heartbeat says: the state of a worker, its live and ended calls, errors, usage, and why it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mindbot_worker.protocol.usage_counts import Summary, Usage

STARTING, READY, DRAINING = "starting", "ready", "draining"
STATES = frozenset({STARTING, READY, DRAINING})

FROM_LOOP, FROM_THREAD = "loop", "thread"
"""Who wrote a beat: the worker's event loop (the default), or the thread that only proves the process runs."""

COMPLETED, FAILED, KILLED = "completed", "failed", "killed"
"""How a call ended: by itself, by an exception in its agent, or with its job process dead."""

CALL_ENDING = "ending"
"""The state of a call whose agent has finished: if its process dies now, no call is lost."""


@dataclass(frozen=True, slots=True)
class Call:
    """One live call.

    `started` is Unix time, `idle` seconds since either side was last active, `dispatch` LiveKit's id of the dispatch.
    `beat_age` is seconds since the event loop of the job process last ran; `present` whether anybody but agents is in
    the room; None where that is not known. `gone` is seconds since the room is gone for good, None while it exists.
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
    """Those of `errors_total` that a provider caused: no other worker would have fared better."""
    jobs_started: int = 0
    jobs_failed: int = 0
    jobs_storm: int = 0
    pids: tuple[int, ...] = ()
    idle: float | None = None
    usage: Usage = field(default_factory=dict)
    """Of all calls since the worker's start."""
    problem: str = ""
    """What keeps the worker from being registered, in one plain sentence; empty when nothing does."""
    failure: Failure | None = None
