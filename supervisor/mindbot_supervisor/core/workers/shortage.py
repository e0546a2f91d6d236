"""While the host has nothing left to start workers with: nobody is blamed, and one attempt after the other is made.

Workers that could not be started wait here with their seats. When an attempt is due one of them is tried; once that has
worked, all others are. It is told once when a shortage begins, and once when all are served.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Ref

RETRY_FIRST, RETRY_MAX = 0.25, 10.0
"""Seconds until the next attempt, doubled each time that it fails. It costs one fork, or less."""


@dataclass(slots=True)
class Shortage:
    """`since` is None while there is none."""

    since: float | None = None
    detail: str = ""
    retry_at: float | None = None
    """When the next attempt is made; None while one is under way."""
    waiting: list[Ref] = field(default_factory=list)
    """Workers that are to be started as soon as it is possible."""
    _wait: float = 0.0
    _under_way: set[Ref] = field(default_factory=set)
    """Tried again, and neither ready nor gone yet."""
    _probe: Ref | None = None
    """The one on which the others wait: until it runs, or until it is ready where workers run short as they start."""
    _at_start: bool = False

    def came(self, detail: str, now: float, *, at_start: bool) -> Change | None:
        """Something could not be started. `at_start`: it was, and ran short itself before it was ready."""
        first = self.since is None
        self._at_start = self._at_start or at_start
        if self.retry_at is None:
            self._wait = min(self._wait * 2 or RETRY_FIRST, RETRY_MAX)
            self.retry_at = now + self._wait
        self._probe = None
        if not first:
            return None
        self.since, self.detail = now, detail
        return Change(log_events.HOST_SHORTAGE, now, level="error", fields={"detail": detail, "retry_in": self._wait})

    def hold(self, ref: Ref) -> None:
        """This one waits."""
        self._under_way.discard(ref)
        if ref not in self.waiting:
            self.waiting.append(ref)

    def due(self, now: float) -> list[Ref]:
        """Those that are to be started now."""
        if self.since is None or self._probe is not None or (self.retry_at is not None and now < self.retry_at):
            return []
        tried = self.waiting if self.retry_at is None else self.waiting[:1]
        self._probe = tried[0] if tried and self.retry_at is not None else None
        self.waiting, self.retry_at = self.waiting[len(tried) :], None
        self._under_way.update(tried)
        return tried

    def started(self, ref: Ref) -> None:
        """Its process runs."""
        if not self._at_start:
            self._succeeded(ref)

    def ready(self, ref: Ref) -> None:
        """It has come up."""
        self._succeeded(ref)
        self._under_way.discard(ref)

    def gone(self, ref: Ref, now: float) -> None:
        """It need not be started any more, or has ended: there may be room again."""
        if ref in self.waiting:
            self.waiting.remove(ref)
        self._under_way.discard(ref)
        if ref == self._probe:
            self._probe = None
        if self.retry_at is not None:
            self.retry_at = min(self.retry_at, now + RETRY_FIRST)

    def over(self, now: float) -> Change | None:
        """Told once everybody is served."""
        if self.since is None or self.waiting or self._under_way:
            return None
        seconds = round(now - self.since, 3)
        self.since, self.detail, self.retry_at, self._wait, self._at_start = None, "", None, 0.0, False
        return Change(log_events.HOST_SHORTAGE_OVER, now, fields={"seconds": seconds})

    def wake_at(self) -> float | None:
        return self.retry_at if self.waiting else None

    def _succeeded(self, ref: Ref) -> None:
        self._wait = 0.0 if ref in self._under_way else self._wait
        if ref == self._probe:
            self._probe = None
