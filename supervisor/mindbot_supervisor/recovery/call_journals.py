"""The journals of calls, as files: passed on from agent to agent, and removed with the last of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from mindbot_worker.protocol import heartbeat

KEPT = 86_400.0
"""Seconds after which a journal that nobody writes to any more is removed (its daemon was killed)."""
FILES_MAX, BYTES_MAX = 4096, 256 * 1024 * 1024
"""So many journals, and bytes, at most: beyond that the oldest are removed, but for those that are being written. The
runtime directory is memory; ten calls of an hour on each of a thousand workers take a gigabyte at the very most."""


class Journals:
    """One folder of them. Nothing here raises: a call goes on without its journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def next_name(self, name: str, job: str) -> str:
        """What it is called once the call is another agent's: the old one, when it ends, removes its own."""
        return heartbeat.journal_name(name, job)

    def keep(self, name: str, job: str) -> None:
        """From here on its agent may remove it; `pass_on` comes later."""
        with contextlib.suppress(OSError):
            os.link(self.folder / name, self._aside(name, job), follow_symlinks=False)

    def pass_on(self, name: str, job: str) -> None:
        """Give it its next name. That it appears is what the new agent waits for, so an empty one must do as well."""
        fresh = self.folder / self.next_name(name, job)
        try:
            self._aside(name, job).rename(fresh)
        except OSError:
            with contextlib.suppress(OSError):
                os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def _aside(self, name: str, job: str) -> Path:
        return self.folder / heartbeat.journal_name(self.next_name(name, job), job)

    def is_held(self, name: str) -> bool:
        """Whether a living job process has the journal open to write: it locks it, and its end unlocks it."""
        if not heartbeat.is_journal_name(name):
            return False
        try:
            fd = os.open(self.folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(fd)
        return False

    def remove(self, name: str) -> bool:
        """False for one that is being written: it stays, and its writer removes it at the end of its call."""
        if self.is_held(name):
            return False
        if heartbeat.is_journal_name(name):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        return True

    def sweep(self, wall: float) -> None:
        """Remove those that an earlier daemon left behind, and those beyond what is kept; `wall` is the time of the
        clock on the wall.
        """
        found: list[tuple[float, int, str]] = []
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                with contextlib.suppress(OSError):
                    stat = path.lstat()
                    found.append((stat.st_mtime, stat.st_size, path.name))
        kept = taken = 0
        for changed_at, size, name in sorted(found, reverse=True):
            kept, taken = kept + 1, taken + size
            if wall - changed_at > KEPT or kept > FILES_MAX or taken > BYTES_MAX:
                self.remove(name)
