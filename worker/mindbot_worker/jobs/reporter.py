"""Sends the worker reports of one call, from its job process, whenever something changes."""

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
    """An error as one line of bounded length, without the body of a provider's answer."""
    # the body of a provider's answer may hold what was said, or a part of the key
    text = error.message if isinstance(error, APIStatusError) else str(error)
    said = " ".join(text.split())
    return (f"{type(error).__name__}: {said}" if said else type(error).__name__)[:_LENGTH_MAX]


_MARK = "__mindbot_counted__"


def is_new(error: object) -> bool:
    """Whether this function sees an error for the first time. One that cannot be marked is always new."""
    if getattr(error, _MARK, False):
        return False
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        setattr(error, _MARK, True)
    return True


class Outbox:
    """Sends datagrams to the worker's socket at `path`. One that finds no room is dropped: each report is complete."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._opened_by = 0

    def send(self, datagram: bytes, *fds: int) -> bool:
        """Send a datagram, with descriptors where `fds` are given; False if there was no room or no socket."""
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
"""Seconds between two reports of activity, at least; a change is reported at once."""
_USAGE_WITHIN = 1.0
"""Seconds within which usage is reported."""
_AGAIN = 0.1
"""Seconds after which a report that found the worker's socket full is sent again."""


class CallReporter:
    """Gathers the state, errors, usage and summary of one call and reports them. For the job's event loop only."""

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
        """Note that one side of the call was heard or did something."""
        self._active_at = time.monotonic()
        wait = self._sent_at + _APART - self._active_at
        if wait <= 0:
            self.send()
        else:
            self._send_in(wait)

    def state(self, state: str) -> None:
        """Note what the agent does now, in LiveKit's own words (AgentState)."""
        self._active_at = time.monotonic()
        if state != self._state and self._state != ENDING:
            self._state = state
            self.send()

    def error(self, kind: str, *, recoverable: bool, of_provider: bool = False) -> None:
        """Count an error. `of_provider`: a provider caused it, and no other worker would have fared better."""
        self._errors[kind] += 1
        self._fatal += not recoverable
        self._of_providers += of_provider
        self.summarise(errors=self._errors.total())
        self.send()

    def _used(self) -> None:
        """Report usage within a second. (There may be no loop any more as the last connection is closed.)"""
        with contextlib.suppress(RuntimeError):
            self._send_in(_USAGE_WITHIN)

    def failed(self, kind: str = "") -> None:
        """Note that the agent's own code raised. With a `kind` the error is counted as well."""
        self._failed = True
        if kind:
            self.error(kind, recoverable=False)
        else:
            self.send()

    def summarise(self, **summary: float | str) -> None:
        """Update the summary of the call, which is sent with the next report and logged at the call's end."""
        self._summary |= summary

    def people(self, present: bool) -> None:
        """Report whether anybody but agents is in the room."""
        if present != self._present:
            self._present = present
            self.send()

    def room_gone(self, gone: bool) -> None:
        """Report whether the room is gone for good, or the agent is no longer in it."""
        if gone != (self._gone_at is not None):
            self._gone_at = time.monotonic() if gone else None
            self.send()

    def ending(self) -> None:
        """Report that the agent has finished."""
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
