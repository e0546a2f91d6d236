"""The state file of an upgrade in place: what the running daemon hands to its new version, and how that reads it.

Same pid, so the workers stay children; their pipes and pidfds, the listening sockets and the lock stay open over the
exec. The state is JSON in an anonymous file whose descriptor is in the environment.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field
from functools import cache

from pydantic import TypeAdapter, ValidationError

from mindbot_config.output import strict_json
from mindbot_supervisor.core.workers.snapshot import VERSION, Snapshot
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.recovery.recovery_tasks import Known

VARIABLE = "MINDBOT_HANDOVER_FD"
SIZE_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChildState:
    """A worker's descriptors, and the beginning of a heartbeat line that was read already (base64)."""

    slot: int
    generation: int
    pid: int
    pidfd: int
    beats: int
    leash: int
    output: int
    held: str = ""

    def fds(self) -> tuple[int, ...]:
        return self.pidfd, self.beats, self.leash, self.output

    def held_bytes(self) -> bytes:
        return base64.b64decode(self.held)


@dataclass(frozen=True, slots=True)
class JobserverState:
    """A server of job processes: its pid, its template's, and the workers that use it (slot, generation)."""

    pid: int
    template: int
    users: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class TemplateState:
    """The template's descriptors, and the digest of what its workers are started with."""

    pid: int
    pidfd: int
    socket: int
    output: int
    digest: str

    def fds(self) -> tuple[int, ...]:
        return self.pidfd, self.socket, self.output


@dataclass(frozen=True, slots=True)
class State:
    """Everything that goes from one daemon to the next."""

    pool: Snapshot
    children: list[ChildState]
    lock: int
    control: int
    http: int | None
    started: float
    """When the daemon began, on the monotonic clock."""
    template: TemplateState | None = None
    jobservers: list[JobserverState] = field(default_factory=list)
    rescue: Known = field(default_factory=Known)
    flights: list[str] = field(default_factory=list)
    """The last minute of the living workers, as the flight recorder keeps it."""
    names: list[int] = field(default_factory=list)
    """Abstract sockets by which a second daemon finds this one."""
    control_place: tuple[int, int] | None = None
    """Device and inode of the control socket's name; None from a version that did not know them."""
    descriptors: int | None = None
    """The soft limit of open files that the daemon was started with, and gives back to what it starts."""
    version: int = VERSION

    def fds(self) -> list[int]:
        own = [self.lock, self.control, *self.names, *([self.http] if self.http is not None else [])]
        own += self.template.fds() if self.template is not None else ()
        return own + [fd for child in self.children for fd in child.fds()]


@dataclass(frozen=True, slots=True)
class _Versioned:
    """What every version can read of any other's state."""

    version: int


@cache
def _adapter() -> TypeAdapter[State]:
    """Made when it is needed: only an upgrade does, and it takes a tenth of the daemon's start."""
    return TypeAdapter(State)


SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def write(state: State) -> int:
    """The descriptor of a file with the state, which nobody can change any more. Raises Refused where there is no such
    file, or the state cannot be written.
    """
    fd = -1
    try:
        # by way of Python values: pydantic's own JSON cannot have a surrogate without its other half
        found = _adapter().dump_python(state, mode="json")
        data = memoryview(strict_json.dump_bytes(found, compact=True))
        fd = os.memfd_create("mindbot-handover", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        while data:
            data = data[os.write(fd, data) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except (OSError, ValueError) as exc:
        if fd >= 0:
            os.close(fd)
        raise Refused(f"the state cannot be written down: {str(exc).splitlines()[0]}") from exc
    return fd


def digest(fd: int) -> str:
    """A hash of the file's content: the new version proves by it that it has read all of the file."""
    return hashlib.sha256(os.pread(fd, SIZE_MAX, 0)).hexdigest()


def survive_exec(fds: Collection[int], yes: bool) -> None:
    for fd in fds:
        os.set_inheritable(fd, yes)


def read(fd: int) -> State:
    """The state in a file. Raises Refused for one of another version, or none at all."""
    data = os.pread(fd, SIZE_MAX, 0)
    try:
        found = strict_json.loads(data)
        version = TypeAdapter(_Versioned).validate_python(found).version
        if version != VERSION:
            raise Refused(f"the state handed over is of version {version}; this program reads version {VERSION}")
        return _adapter().validate_python(found)
    except ValidationError as exc:
        raise Refused(f"the state handed over does not fit this version: {exc.error_count()} problems") from exc
    except ValueError as exc:
        raise Refused("the state handed over cannot be read: it is not JSON") from exc


def receive(environ: MutableMapping[str, str]) -> State | None:
    """What a daemon before us handed over, or None where there was none. Nothing of it leaks into children."""
    named = environ.pop(VARIABLE, "")
    if not named.isdecimal():
        return None
    try:
        state = read(int(named))
        os.close(int(named))
    except (OSError, OverflowError) as exc:
        raise Refused(f"{VARIABLE}={named} names no state of another daemon; unset it") from exc
    for fd in state.fds():
        os.set_inheritable(fd, False)
    return state
