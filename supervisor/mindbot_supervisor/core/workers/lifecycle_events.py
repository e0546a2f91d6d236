"""What can happen to a worker: the facts and decisions that `lifecycle.step` takes."""

from __future__ import annotations

from dataclasses import dataclass

from mindbot_supervisor.core.workers.model import Verdict


@dataclass(frozen=True, slots=True)
class Began:
    """Its process runs."""

    pid: int
    roll: float


@dataclass(frozen=True, slots=True)
class Said:
    """The worker's loop was heard: its state and whether LiveKit knows it."""

    state: str
    registered: bool | None = None
    problem: str = ""
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule, or an operator, wants it gone: a soft verdict was admitted, or a hard one found.

    `grace` is how many seconds a hard one waits, for calls that are being moved.
    """

    verdict: Verdict
    calls: int = 0
    grace: float = 0.0


@dataclass(frozen=True, slots=True)
class Relieved:
    """Finish now: its replacement is ready, or nobody is to replace it."""

    verdict: Verdict
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Passed:
    """Time has passed: `silence` since its last beat, `relieved` if a replacement is ready, `calls` with somebody in
    them, and until when a job may take to end whose room is gone.
    """

    silence: float = 0.0
    relieved: bool = False
    calls: int = 0
    closing_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """It need not leave after all: its replacement did not become ready."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The calls for which its end had to wait are with others."""


Happening = Began | Said | Judged | Relieved | Passed | Kept | Moved
