"""What one call has to report, gathered in its job process and sent as it changes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

from mindbot_worker import wire
from mindbot_worker.jobs.outbox import Outbox
from mindbot_worker.jobs.turns import Turns
from mindbot_worker.reports import ENDING, STARTING, Report, encode
from mindbot_worker.usage import Meter

_APART = 0.25
"""Reports of mere activity are at least this far apart; a change goes at once."""
_USAGE_WITHIN = 1.0
"""What was used is told so soon, with the next report at the latest."""
_AGAIN = 0.1
"""A report that found the worker's socket full is tried again this soon."""


class CallReporter:
    """Used on the job's event loop."""

    def __init__(self, job: str, outbox: Outbox) -> None:
        self.job = job
        self._outbox = outbox
        self._seq = 0
        self._state = STARTING
        self._active_at = time.monotonic()
        self._errors: Counter[str] = Counter()
        self._fatal = self._of_providers = 0
        self._failed = False
        self._summary: dict[str, float | str] = {}
        self._present: bool | None = None
        self._gone_at: float | None = None
        self.rate_limited = 0
        """How often a session was refused by a provider for asking too much (429)."""
        self._sent_at = 0.0
        self._later: asyncio.TimerHandle | None = None
        self.usage = Meter(self._used)
        self.turns = Turns(self.summarise)

    def activity(self) -> None:
        """Either side was heard, or did something."""
        self._active_at = time.monotonic()
        wait = self._sent_at + _APART - self._active_at
        if wait <= 0:
            self.send()
        else:
            self._send_in(wait)

    def state(self, state: str) -> None:
        """What the agent is doing now, in LiveKit's own word."""
        self._active_at = time.monotonic()
        if state != self._state and self._state != ENDING:
            self._state = state
            self.send()

    def error(self, kind: str, *, recoverable: bool, of_provider: bool = False) -> None:
        """`of_provider`: it is the provider's doing, so that no other worker would have fared better."""
        self._errors[kind] += 1
        self._fatal += not recoverable
        self._of_providers += of_provider
        self.summarise(errors=self._errors.total())
        self.send()

    def _used(self) -> None:
        """No hurry, and the loop may be gone when the last connection is closed."""
        with contextlib.suppress(RuntimeError):
            self._send_in(_USAGE_WITHIN)

    def failed(self, kind: str = "") -> None:
        """The agent's own code raised: the call did not do what it was for. Without a `kind` the error is counted."""
        self._failed = True
        if kind:
            self.error(kind, recoverable=False)
        else:
            self.send()

    def summarise(self, **summary: float | str) -> None:
        """What the call has been like so far, told with the next report: the last one is in the log of its end."""
        self._summary |= summary

    def people(self, present: bool) -> None:
        """Whether anybody but agents is in the room."""
        if present != self._present:
            self._present = present
            self.send()

    def room_gone(self, gone: bool) -> None:
        """Whether the room is gone for good, or the agent no longer in it: nobody can be spoken to then."""
        if gone != (self._gone_at is not None):
            self._gone_at = time.monotonic() if gone else None
            self.send()

    def ending(self) -> None:
        self._state = ENDING
        self.send()

    def send(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._seq += 1
        self._sent_at = time.monotonic()
        report = Report(
            self.job,
            self._seq,
            self._state,
            self._active_at,
            dict(self._errors),
            self._fatal,
            self._of_providers,
            self._failed,
            wire.rounded(self.usage.totals()),
            dict(self._summary),
            self._present,
            self._gone_at,
        )
        if not self._outbox.send(encode(report)):
            self._send_in(_AGAIN)

    def _send_in(self, wait: float) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(wait, self.send)
