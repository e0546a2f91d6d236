"""The runtime directory: private to our user, for one daemon at a time, and made again with its files when removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mindbot_supervisor.control.unix_and_tcp_sockets import Place, place_of
from mindbot_supervisor.core import log_events
from mindbot_supervisor.daemon.runtime_files.single_instance import PATIENCE, SingleInstance
from mindbot_supervisor.errors import BadConfig, Refused, SupervisorError

LOCK = "lock"
FRESH = 3600.0
"""Seconds between two touches: programs that sweep old files out of /tmp look at their times."""


class RuntimeDirectory:
    """The directory, the lock in it, and the name by which a second daemon finds us without either."""

    def __init__(self, path: Path, instance: SingleInstance, lock: int) -> None:
        self.path, self.instance, self.lock = path, instance, lock
        self._folder: int | None = None
        with contextlib.suppress(Refused):
            self._folder = _open(path)
        self._touched = -FRESH

    @classmethod
    def claim(cls, path: Path) -> RuntimeDirectory:
        """Take the directory for this daemon. Raises Refused when another daemon has it, or when it is not safe to
        use.
        """
        make(path)
        instance = SingleInstance(path)
        instance.hold_name(PATIENCE)
        return cls(path, instance, _lock(path))

    @classmethod
    def resume(cls, path: Path, lock: int, names: list[int]) -> RuntimeDirectory:
        """After an upgrade: take over what the version before held. What is missing, `restore` makes again."""
        return cls(path, SingleInstance(path, names), lock)

    def restore(self, now: float) -> list[str]:
        """Make again what was removed, and keep it fresh; the names of what was made. `now` is a clock's seconds.

        Raises Refused or BadConfig when that cannot be done.
        """
        made = []
        if self._folder is None or place_of_directory(self.path) != _place_of_fd(self._folder):
            known, folder = self._folder, _open(make(self.path))
            self._folder = folder
            if known is not None:
                os.close(known)
                made.append(str(self.path))
        self.instance.hold_name()
        if place_of(self.path / LOCK) != _place_of_fd(self.lock):
            fresh = _lock(self.path)
            os.dup2(fresh, self.lock, inheritable=False)
            os.close(fresh)
            made.append(LOCK)
        if now - self._touched >= FRESH:
            self._touched = now
            touch(self.path, self.path / LOCK)
            _spare_from_sweeps(self._folder)
        return made

    def close(self) -> None:
        self.instance.close()
        if self._folder is not None:
            os.close(self._folder)
        os.close(self.lock)


def make(path: Path) -> Path:
    """Make it if need be. Raises Refused for one that is not safe to use."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        named, found = path.lstat(), path.stat()
    except OSError as exc:
        raise Refused(f"cannot use the runtime directory {path}: {exc.strerror}") from exc
    if found.st_uid != os.geteuid() or named.st_uid not in (0, os.geteuid()):
        raise Refused(f"the runtime directory {path} belongs to another user; choose another with MINDBOT_RUNTIME_DIR")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise Refused(f"the runtime directory {path} can be written by others; make it mode 0700")
    return path


def _open(path: Path) -> int:
    """Open the directory: the inode of an open one is not given to another."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise Refused(f"cannot use the runtime directory {path}: {exc.strerror}") from exc
    _spare_from_sweeps(fd)
    return fd


def _spare_from_sweeps(folder: int) -> None:
    """Lock the directory itself: systemd-tmpfiles leaves out what is below a locked one (tmpfiles.d(5), Age)."""
    with contextlib.suppress(OSError):
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)


def touch(*paths: Path) -> None:
    """Set the times of these files to now."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.utime(path, follow_symlinks=False)


def place_of_directory(path: Path) -> Place | None:
    """What the name leads to, links followed; None where that is no directory."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _place_of_fd(fd: int) -> Place:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _lock(path: Path) -> int:
    try:
        fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as exc:
        raise Refused(f"cannot lock {path / LOCK}: {exc.strerror}") from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadConfig(f"cannot lock {path / LOCK}: it is not a regular file; move it away")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise Refused(
            f"a daemon is already running in {path} (pid {holder}); stop it first, or use another --socket"
        ) from exc
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


Restore = Callable[[float], Sequence[str]]
"""Makes again what was removed, and returns its names; takes the monotonic clock. Raises SupervisorError, OSError."""


@dataclass(slots=True)
class FileRestorer:
    """Calls `restorers` in this order: a directory comes before what is in it."""

    restorers: Sequence[Restore]
    note: Callable[..., None]
    _problem: str = ""

    def restore(self) -> None:
        """Restore what is missing; to be called every second. What cannot be restored is told once, and tried each
        time.
        """
        made: list[str] = []
        problem = ""
        for restorer in self.restorers:
            try:
                made += restorer(time.monotonic())
            except (SupervisorError, OSError) as exc:
                problem = problem or str(exc)
        if made:
            self.note(log_events.RUNTIME_RESTORED, "warning", files=made, detail="they had been removed")
        if problem and problem != self._problem:
            self.note(log_events.RUNTIME_LOST, "warning", detail=problem)
        self._problem = problem
