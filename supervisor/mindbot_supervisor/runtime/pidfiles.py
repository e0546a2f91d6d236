"""What the next daemon has to know if this one dies: a small file for each worker in the runtime directory."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from mindbot_config import cgroups
from mindbot_supervisor.core.model import Ref

from . import process_table
from .process_table import GONE, Key

SIZE_MAX = 64 * 1024
MEMBERS_MAX = 1024
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Pidfile:
    """A worker that some daemon started. `started` (seconds since boot) tells it from a later process."""

    ref: Ref
    pid: int
    started: float
    termed: bool = False
    """It was sent its one SIGTERM."""
    boot: str = ""
    """The kernel's name for the time since it was started: what was recorded before that is nobody any more."""
    members: tuple[Key, ...] = ()
    """What belongs to it and is not in its session: job processes, and orphans."""


class Pidfiles:
    """The files, mode 0600. What cannot be written or read costs adoption, never a call."""

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._folder = runtime_dir / "workers"

    def write(self, ref: Ref, pid: int, *, termed: bool = False, members: Iterable[Key] = ()) -> None:
        found = process_table.find(pid)
        if found is None:
            return
        named = {"slot": ref.slot, "generation": ref.generation, "pid": pid}
        record = {**named, "started": process_table.started_at(found), "termed": termed, "boot": boot_id()}
        text = json.dumps({**record, "members": sorted(members)[:MEMBERS_MAX]})
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(self._path(ref), flags, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)

    def members(self, ref: Ref) -> tuple[Key, ...]:
        """What was recorded as belonging to this worker."""
        record = _read(self._path(ref))
        return record.members if record is not None and record.boot == boot_id() else ()

    def remove(self, ref: Ref) -> None:
        with contextlib.suppress(OSError):
            self._path(ref).unlink()

    def leftovers(self) -> tuple[list[Pidfile], list[Ref]]:
        """Workers of a dead daemon that still live, and the names of all that ever were recorded here.

        A process counts only if boot, pid and start time agree: a stranger is never touched.
        """
        living: list[Pidfile] = []
        names: list[Ref] = []
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []:
            record = _read(path)
            if record is None:
                path.unlink(missing_ok=True)
                continue
            names.append(record.ref)
            if self._alive(record):
                living.append(record)
            else:
                path.unlink(missing_ok=True)
        return living, names

    def _alive(self, record: Pidfile) -> bool:
        found = process_table.find(record.pid)
        try:
            return (
                found is not None
                and bool(record.boot)
                and record.boot == boot_id()
                and process_table.started_at(found) == record.started
                and os.getsid(record.pid) == record.pid
            )
        except (*GONE, psutil.AccessDenied):
            return False

    def _path(self, ref: Ref) -> Path:
        return self._folder / f"{ref}.json"


def boot_id() -> str:
    return (cgroups.read(BOOT_ID) or b"").decode().strip()


def _read(path: Path) -> Pidfile | None:
    """What a file says, or None for whatever else may be in there."""
    try:
        if path.is_symlink() or path.stat().st_size > SIZE_MAX:
            return None
        found = json.loads(path.read_text())
        slot, generation, pid = (found[key] for key in ("slot", "generation", "pid"))
        started, boot = float(found["started"]), str(found.get("boot", ""))
        members = tuple((int(number), float(at)) for number, at in found.get("members", ()))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not all(isinstance(value, int) and value >= 0 for value in (slot, generation, pid)) or pid <= 1:
        return None
    return Pidfile(Ref(slot, generation), pid, started, found.get("termed") is True, boot, members)
