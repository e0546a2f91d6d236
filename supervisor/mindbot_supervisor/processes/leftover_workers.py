"""Workers that a crashed daemon left behind: a small record file for each worker, and the watch over those found alive.

Every daemon writes the records while it runs, so that the next one can find its workers. Leftover workers are no
children of the new daemon: their end is all that can be known of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mindbot_config.files.read_file import read_regular
from mindbot_config.host import cgroups
from mindbot_config.host.descriptors import Descriptor
from mindbot_config.output import strict_json
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring import process_table
from mindbot_supervisor.monitoring.process_table import Key
from mindbot_supervisor.processes.launching.child_process import signal_to

SIZE_MAX = 64 * 1024
MEMBERS_MAX = 1024
BOOT_ID = "/proc/sys/kernel/random/boot_id"
FRESH = 3600.0
"""Seconds between two touches of the files."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
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


class WorkerRecords:
    """The record files, mode 0600. Without one, the next daemon does not find a worker; no call depends on them."""

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._folder = runtime_dir / "workers"
        self._texts: dict[Ref, str] = {}
        """What stands in each file, so that one which somebody removes can be written again."""
        self._seen: tuple[int, int] | None = None
        """Inode and time of the folder when the files were last known to be there."""
        self._touched = -FRESH

    def write(self, ref: Ref, pid: int, *, termed: bool = False, members: Iterable[Key] = ()) -> None:
        found = process_table.find(pid)
        if found is None:
            return
        started, known = process_table.started_at(found), tuple(sorted(members)[:MEMBERS_MAX])
        self._texts[ref] = strict_json.dumps(_fields(WorkerRecord(ref, pid, started, termed, boot_id(), known)))
        self._put(ref)

    def _put(self, ref: Ref) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(self._path(ref), flags, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(self._texts[ref])

    def restore(self, now: float) -> list[str]:
        """Write again what somebody has removed, and keep all of it fresh; the names of what was written.

        `now` is a clock's seconds. A sweep of old files must not cost the next daemon its leftovers.
        """
        if now - self._touched >= FRESH:
            self._touched = now
            for path in (self._folder, *map(self._path, self._texts)):
                with contextlib.suppress(OSError):
                    os.utime(path, follow_symlinks=False)
        stamp = self._stamp()
        if not self._texts or (stamp is not None and stamp == self._seen):
            return []
        missing = [path for path in map(self._path, self._texts) if not path.exists()]
        for ref in self._texts:
            if self._path(ref) in missing:
                self._put(ref)
        self._seen = self._stamp()
        return [f"{self._folder.name}/{path.name}" for path in missing if path.exists()]

    def _stamp(self) -> tuple[int, int] | None:
        """Inode and time of the folder, which change whenever a file comes or goes."""
        try:
            found = self._folder.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def members(self, ref: Ref) -> tuple[Key, ...]:
        """What was recorded as belonging to this worker."""
        record = _read(self._path(ref))
        return record.members if record is not None and record.boot == boot_id() else ()

    def remove(self, ref: Ref) -> None:
        self._texts.pop(ref, None)
        with contextlib.suppress(OSError):
            self._path(ref).unlink()

    def leftovers(self) -> tuple[list[WorkerRecord], list[Ref]]:
        """Workers of a dead daemon that still live, and the names of all that ever were recorded here.

        A process counts only if boot, pid and start time agree: a stranger is never touched.
        """
        living: list[WorkerRecord] = []
        names: list[Ref] = []
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []:
            record = _read(path)
            if record is None:
                with contextlib.suppress(OSError):  # a folder of that name
                    path.unlink(missing_ok=True)
                continue
            names.append(record.ref)
            if self._alive(record):
                living.append(record)
                self._texts[record.ref] = strict_json.dumps(_fields(record))
            else:
                path.unlink(missing_ok=True)
        return living, names

    def _alive(self, record: WorkerRecord) -> bool:
        try:
            same = record.boot == boot_id() and process_table.is_same(record.pid, record.started)
            return same and bool(record.boot) and os.getsid(record.pid) == record.pid
        except ProcessLookupError:
            return False

    def _path(self, ref: Ref) -> Path:
        return self._folder / f"{ref}.json"


def _fields(record: WorkerRecord) -> dict[str, object]:
    named = {"slot": record.ref.slot, "generation": record.ref.generation, "pid": record.pid}
    known = {"started": record.started, "termed": record.termed, "boot": record.boot}
    return {**named, **known, "members": list(record.members)}


def boot_id() -> str:
    return (cgroups.read(BOOT_ID) or b"").decode().strip()


def _read(path: Path) -> WorkerRecord | None:
    """The record in a file, or None where the file holds anything else."""
    try:
        found = json.loads(read_regular(path, limit=SIZE_MAX, within=None, ours=True).data)
        slot, generation, pid = (found[key] for key in ("slot", "generation", "pid"))
        started, boot = float(found["started"]), str(found.get("boot", ""))
        members = tuple((int(number), float(at)) for number, at in found.get("members", ()))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not all(isinstance(value, int) and value >= 0 for value in (slot, generation, pid)) or pid <= 1:
        return None
    return WorkerRecord(Ref(slot, generation), pid, started, found.get("termed") is True, boot, members)


class LeftoverWorkers:
    """Watches leftover workers by pidfds. `gone` is called once for each, after its end."""

    def __init__(self, gone: Callable[[Ref], None]) -> None:
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._pidfds: dict[Ref, Descriptor] = {}

    def take(self, record: WorkerRecord) -> bool:
        """Watch the worker of this record. False if it has ended, or its pid belongs to another process by now.

        Raises OSError where no descriptor is left: then nothing is known of it.
        """
        try:
            pidfd = Descriptor(os.pidfd_open(record.pid))
        except ProcessLookupError:
            return False
        if not process_table.is_same(record.pid, record.started):
            pidfd.close()
            return False
        self._pidfds[record.ref] = pidfd
        self._loop.add_reader(pidfd.fileno(), self._ended, record.ref)
        return True

    def signal(self, ref: Ref, number: int) -> None:
        """Send a signal to a leftover worker; nothing happens if it is none, or is gone."""
        if ref in self._pidfds:
            signal_to(self._pidfds[ref], number)

    def named(self, name: str) -> Ref | None:
        return next((ref for ref in self._pidfds if str(ref) == name), None)

    def _ended(self, ref: Ref) -> None:
        pidfd = self._pidfds.pop(ref)
        self._loop.remove_reader(pidfd.fileno())
        pidfd.close()
        self._gone(ref)
