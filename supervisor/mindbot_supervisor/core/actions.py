"""What the core wants done. The runtime does it and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from mindbot_supervisor.core.workers.model import Ref
from mindbot_worker.protocol.heartbeat import Call


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker for this seat, then report `spawned`, `spawn_failed`, or `ran_short`."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Withdraw:
    """It need not be started any more: report `exited` if it never is, and `spawned` as ever if it is all the same."""

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
class LookAtJob:
    """See what the process of a silent job does, its stack included, then report `job_looked`."""

    ref: Ref
    job: str
    pid: int


@dataclass(frozen=True, slots=True)
class KillJob:
    """Take the stack of a job's process and SIGKILL it, if it is proven to be a process of this worker; then report
    `job_killed`. The pid is only what the worker has told.
    """

    ref: Ref
    job: str
    pid: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the daemon: no worker of the pool can ever start."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Recover:
    """Bring a new agent into the room of this call within `seconds`, then report `answered`.

    The caller must never hear two agents: the old one is taken out of the room before the new one comes in. `moved`: it
    still lives, and answers the caller until the new one is ready; then report `left_alone`.
    `replaces` is the job whose own attempt is to be given up for this one, the same caller's.
    """

    call: Call
    attempt: int
    seconds: float
    moved: bool = False
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody will continue this call: remove what was kept of it."""

    call: Call


@dataclass(frozen=True, slots=True)
class Prepare:
    """Calls are about to come to this worker: have it keep so many job processes warm. Nothing depends on it."""

    ref: Ref
    processes: int


Action = Spawn | Withdraw | Terminate | DumpStacks | Kill | LookAtJob | KillJob | GiveUp | Recover | Forget | Prepare
