"""Raises the daemon's limit of open files to the hard limit, and gives the old one back to what the daemon starts."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mindbot_config.host import resource_shortage

OWN = 48
"""Open files of the daemon beside its workers': 26 when nothing happens, and room for commands and for starting."""
EACH = 4
"""Of one worker: its pidfd, heartbeats, leash and output."""
MARGIN = 64
"""Numbers that must be free below the old limit, so that it can be in force for a moment."""


@dataclass(frozen=True, slots=True)
class DescriptorLimit:
    """How many files may be open. `own` is the daemon's limit; `inherited` is the soft limit with which it was
    started.
    """

    own: int
    inherited: int

    @classmethod
    def raised(cls, inherited: int | None = None) -> DescriptorLimit:
        """Raise the soft limit of this process to the hard one. An upgraded daemon is told what was `inherited`."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # fs.nr_open was lowered below it
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return cls(resource.getrlimit(resource.RLIMIT_NOFILE)[0], soft if inherited is None else inherited)

    @property
    def workers(self) -> int:
        """How many workers there is room for."""
        return max(self.own - OWN, 0) // EACH

    def refusal(self, workers: int) -> str:
        """Why so many workers cannot be had, in one line; empty if they can."""
        if workers <= self.workers:
            return ""
        room = {0: "none", 1: "1 worker"}.get(self.workers, f"{self.workers} workers")
        return (
            f"{workers} need {OWN + workers * EACH} open files in the daemon, and the hard limit (ulimit -Hn, or "
            f"LimitNOFILE= of its unit) is {self.own}, which is enough for {room}"
        )

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """As `subprocess.Popen`, with the soft limit that this daemon inherited. Raises OSError."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if self.inherited >= self.own:
            return subprocess.Popen(command, **options)
        theirs = (min(self.inherited, hard), hard)
        fits = max(_numbers(options), default=0) + MARGIN < self.inherited
        if fits:
            # Lowered for the moment of the fork: nothing that this daemon has open is concerned, and it is ten times
            # cheaper than to fork the whole daemon for the sake of `preexec_fn`.
            try:
                with _lowered(theirs, (self.own, hard)):
                    return subprocess.Popen(command, **options)
            except OSError as exc:
                if not resource_shortage.is_one(exc):
                    raise
        return subprocess.Popen(
            command, preexec_fn=partial(resource.setrlimit, resource.RLIMIT_NOFILE, theirs), **options
        )


@contextlib.contextmanager
def _lowered(theirs: tuple[int, int], own: tuple[int, int]) -> Iterator[None]:
    resource.setrlimit(resource.RLIMIT_NOFILE, theirs)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, own)


def _numbers(options: dict[str, Any]) -> list[int]:
    """The descriptors that a child is to get: new ones have the lowest free numbers, so they tell how many are open."""
    given = [options.get("stdout"), options.get("stderr"), *options.get("pass_fds", ())]
    return [each for each in given if isinstance(each, int)]
