"""Calls on their way to a new agent, and what is remembered of calls and rooms besides."""

from __future__ import annotations

from dataclasses import dataclass, field

from mindbot_worker.wire import Call

from .model import Ref


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
