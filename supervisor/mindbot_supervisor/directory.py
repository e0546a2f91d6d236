"""The runtime directory: private to our user, and for one daemon at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from mindbot_supervisor.errors import Refused


def claim(path: Path) -> int:
    """Make the directory if need be, and lock it. Returns the lock's descriptor: the lock ends with it.

    Raises Refused when another daemon has it, or when it is not safe to use.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as exc:
        raise Refused(f"cannot use the runtime directory {path}: {exc.strerror}") from exc
    if found.st_uid != os.geteuid():
        raise Refused(f"the runtime directory {path} belongs to another user; choose another with MINDBOT_RUNTIME_DIR")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise Refused(f"the runtime directory {path} can be written by others; make it mode 0700")
    return _lock(path)


def _lock(path: Path) -> int:
    try:
        fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise Refused(f"cannot use the runtime directory {path}: {exc.strerror}") from exc
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
