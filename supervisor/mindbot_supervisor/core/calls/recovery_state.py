"""What a recovery knows: the terms on which a call is given a new agent, what can come of an attempt, and the calls
under way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mindbot_supervisor.core.workers.model import Ref
from mindbot_worker.protocol.heartbeat import Call


@dataclass(frozen=True, slots=True)
class Terms:
    """`recovery.attempts`: agents that one room is given. `recovery.deadline`: seconds for each to be there.
    `at_once`: calls that are moved side by side; the others keep their agents until it is their turn.
    """

    attempts: int
    deadline: float
    at_once: int = 4


@dataclass(frozen=True, slots=True)
class Recovered:
    """A new agent is in the room."""

    identity: str


@dataclass(frozen=True, slots=True)
class Alone:
    """No caller is in the room: there is nobody to recover the call for."""


@dataclass(frozen=True, slots=True)
class Failed:
    """No agent came. `blind`: LiveKit did not answer, so one may be there. `nobody`: no worker was free to send one.
    `untouched`: the old agent, which lives, still has the call. `final`: trying again is of no use."""

    why: str
    blind: bool = False
    nobody: bool = False
    untouched: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Contested:
    """Others have another account of who is dead, or has the call: nothing was done about it."""

    why: str


Answer = Recovered | Alone | Failed | Contested


@dataclass(frozen=True, slots=True)
class Case:
    """One call on its way to a new agent."""

    call: Call
    ref: Ref
    pid: int | None
    since: float
    """When the caller was left alone."""
    reason: str
    ours: bool = False
    """We ended its agent ourselves."""
    moved: bool = False
    """Taken from an agent that lives: this is a migration."""
    attended: bool = False
    """That agent is still there for the caller: `since` does not count yet."""
    attempt: int = 0
    """How many agents the room was given, this attempt included."""
    due: float | None = None
    """When the next attempt begins; None while one is under way."""
    expires: float = 0.0
    successor: str = ""
    """The job that was seen to start in the room since then, on `successor_ref`."""
    successor_ref: Ref | None = None


@dataclass(slots=True)
class Open:
    """What is remembered of calls and rooms. It goes over to the next daemon at an upgrade."""

    cases: dict[str, Case] = field(default_factory=dict)
    deaths: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """When agents died in a room, lately."""
    gone: dict[str, None] = field(default_factory=dict)
    """Jobs whose calls were taken from their worker; the oldest first."""
    contested: dict[str, None] = field(default_factory=dict)
    """Jobs whose calls are not to be moved, as others have another account of them; the oldest first."""
