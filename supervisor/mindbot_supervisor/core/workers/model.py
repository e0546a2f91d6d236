"""The nouns of the core: who a worker is, what is known of it, and how it can end.

All times are seconds of one monotonic clock unless a name says otherwise; all memory is MiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One incarnation of a slot's worker. Never reused, so late news of a dead one finds nobody."""

    slot: int
    generation: int

    def __str__(self) -> str:
        return f"{self.slot}.{self.generation}"


class Phase(StrEnum):
    """Where a worker is in its life; `lifecycle.step` is the only gate between them."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    KILLING = "killing"


class Reason(StrEnum):
    """Why a worker leaves (design: the table of reasons)."""

    CRASH = "crash"
    HUNG = "hung"
    START = "start"
    MEMORY = "memory"
    LEAK = "leak"
    ERRORS = "errors"
    INACTIVE = "inactive"
    UNREGISTERED = "unregistered"
    BROKEN = "broken"
    CPU = "cpu"
    STORM = "storm"
    PRESSURE = "pressure"
    HOST_STARVED = "host_starved"
    LIFETIME = "lifetime"
    LEFT = "left"
    LEFTOVER = "leftover"
    OPERATOR = "operator"
    CONFIG = "config"
    ENV = "env"
    TEMPLATE = "template"
    SCALE = "scale"
    STOP = "stop"
    DRAIN_TIMEOUT = "drain_timeout"


BY_OPERATOR = frozenset({Reason.OPERATOR, Reason.CONFIG, Reason.ENV, Reason.SCALE, Reason.STOP})


class Urgency(IntEnum):
    """How gently a reason is answered: told only, drained behind a replacement, or killed."""

    WARN = 0
    DRAIN = 1
    KILL = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule found: the reason, how urgent it is, and the number with its limit."""

    reason: Reason
    urgency: Urgency
    value: float | None = None
    limit: float | None = None
    detail: str = ""

    def fields(self) -> dict[str, object]:
        """The evidence as log fields; what is not known is left out."""
        known: dict[str, object] = {}
        if self.value is not None:
            known["value"] = round(self.value, 3)
        if self.limit is not None:
            known["limit"] = round(self.limit, 3)
        if self.detail:
            known["detail"] = self.detail
        return known


class Death(StrEnum):
    """How a worker ended: as asked, by a code or a signal nobody here sent, by the kernel's OOM killer, or by us."""

    ASKED = "asked"
    CRASHED = "crashed"
    SIGNAL = "signal"
    OOM = "oom"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, as the kernel tells it: `code` or `signal` is set, and neither for no child of ours."""

    code: int | None = None
    signal: int | None = None
    oom: bool = False
    detail: str = ""
    """What else the kernel says of it, and where that was read."""
    shortage: str = ""
    """What the host had nothing left of while it was starting, by the kernel's word."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a worker's whole process tree. `cpu_percent` is of one core, since the sample before."""

    pss_mb: float
    uss_mb: float
    rss_mb: float
    cpu_percent: float = 0.0
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Worker:
    """What the lifecycle knows of one worker; changed only by making a new one."""

    ref: Ref
    spawned_at: float
    roll: float = 0.5
    """Drawn once by the shell, 0 to 1: spreads ages and backoff."""
    pid: int | None = None
    phase: Phase = Phase.STARTING
    ready_at: float | None = None
    suspect: bool = False
    registered: bool | None = None
    leaving: Verdict | None = None
    """Why it is to leave; while it is still READY it serves until its replacement is ready."""
    termed: bool = False
    """It was told to finish: SIGTERM is sent once, ever."""
    killed: bool = False
    leftover: bool = False
    """A dead daemon's worker: it finishes its calls, of which nothing is known, until its deadline."""
    deadline: float | None = None
    """DRAINING: killed if still alive then. KILLING: the (next) SIGKILL."""
    left_at: float | None = None
    """When it was told to finish, or condemned, whichever came first."""
    quiet_since: float | None = None
    """DRAINING: when its last call was gone."""
    stacks_due: float | None = None
    """KILLING: from then on it is killed if its replacement is ready: its stacks have had their time."""

    @property
    def serving(self) -> bool:
        return self.phase is Phase.READY

    @property
    def seated(self) -> bool:
        """It fills its slot: no other worker has to be started for it."""
        return self.phase in (Phase.STARTING, Phase.READY) and self.leaving is None


@dataclass(frozen=True, slots=True)
class LastExit:
    """What became of a slot's previous worker."""

    verdict: Death
    code: int | None
    signal: int | None
    reason: Reason | None
    at: float
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened, told once: the log, the metrics and the journal are all made from this value."""

    event: str
    at: float
    worker: Ref | None = None
    pid: int | None = None
    level: str = "info"
    fields: Mapping[str, object] = field(default_factory=dict)
