"""The journals of calls, as files: passed on from agent to agent, and removed with the last of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mindbot_worker import wire

KEPT = 86_400.0
"""Seconds after which a journal that nobody writes to any more is removed (its daemon was killed)."""


class Journals:
    """One folder of them. Nothing here raises: a call goes on without its journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def next_name(self, name: str, job: str) -> str:
        """What it is called once the call is another agent's: the old one, when it ends, removes its own."""
        return wire.journal_name(name, job)

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
        return self.folder / wire.journal_name(self.next_name(name, job), job)

    def remove(self, name: str) -> None:
        if wire.is_journal_name(name):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)

    def sweep(self, wall: float) -> None:
        """Remove those that an earlier daemon left behind; `wall` is the time of the clock on the wall."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if wall - path.lstat().st_mtime > KEPT:
                    self.remove(path.name)
