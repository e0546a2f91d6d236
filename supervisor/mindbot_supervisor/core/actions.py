"""What the core wants done. The runtime does it and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Ref


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker for this seat, then report `spawned` or `spawn_failed`."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM to the worker itself, not to its tree."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class DumpStacks:
    """Ask every process of the tree for its stack (SIGUSR2, served by faulthandler)."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL the whole tree."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the daemon: no worker of the pool can ever start."""

    code: int
    message: str


Action = Spawn | Terminate | DumpStacks | Kill | GiveUp
