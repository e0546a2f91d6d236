"""On what terms a call is given a new agent, and what can come of an attempt to do so."""

from __future__ import annotations

from dataclasses import dataclass


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
