"""Gathers what one call has to report in its job process, and sends it to the worker as it changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter

from livekit.agents import APIStatusError

from mindbot_worker.jobs.answer_times import TurnTimes
from mindbot_worker.protocol import heartbeat, job_beats
from mindbot_worker.protocol.job_reports import ENDING, STARTING, Report, encode
from mindbot_worker.providers.usage_meter import UsageMeter

_LENGTH_MAX = 400


def one_line(error: object) -> str:
    # the body of a provider's answer may hold what was said, or a part of the key
    text = error.message if isinstance(error, APIStatusError) else str(error)
    said = " ".join(text.split())
    return (f"{type(error).__name__}: {said}" if said else type(error).__name__)[:_LENGTH_MAX]


_MARK = "__mindbot_counted__"


def is_new(error: object) -> bool:
    """Whether this error was not asked about before. What cannot be marked is always new."""
    if getattr(error, _MARK, False):
        return False
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        setattr(error, _MARK, True)
    return True


class Outbox:
    """Sends to the worker's socket at `path`; what finds no room there is dropped, and the next report says it all."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._opened_by = 0

    def send(self, datagram: bytes, *fds: int) -> bool:
        """`fds` go along: the worker gets descriptors of its own for the same files."""
        try:
            self._connected().sendmsg([datagram], job_beats.rights(*fds))
        except OSError:
            return False
        return True

    def _connected(self) -> socket.socket:
        if self._socket is None or self._opened_by != os.getpid():
            fresh = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                fresh.connect(self._path)
            except OSError:
                fresh.close()
                raise
            self._socket, self._opened_by = fresh, os.getpid()
        return self._socket

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


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
        self.usage = UsageMeter(self._used)
        self.turns = TurnTimes(self.summarise)

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
            heartbeat.rounded(self.usage.totals()),
            dict(self._summary),
            self._present,
            self._gone_at,
        )
        if not self._outbox.send(encode(report)):
            self._send_in(_AGAIN)

    def _send_in(self, wait: float) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(wait, self.send)
