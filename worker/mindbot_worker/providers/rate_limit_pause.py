"""Pauses the requests of all processes of a host after a provider has answered "too many requests".

The end of the pause is in a small file beside that of the concurrency limit, on the host's monotonic clock. The file is
written without a lock: a lost update costs one more refused request, which writes it again.
"""

from __future__ import annotations

import contextlib
import email.utils
import os
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mindbot_config.files.read_file import read_regular

LONGEST = 60.0
"""Seconds that a pause lasts at most, whatever the provider asks for."""
_FIRST = 1.0
"""Seconds of the first pause where the provider names no time; doubled at each further one in a row."""
_STATE = struct.Struct("<ddd")


@dataclass(frozen=True, slots=True)
class _Pause:
    """A pause from `since` to `until`; the next one lasts `step` seconds where the provider names no time."""

    since: float = 0.0
    until: float = 0.0
    step: float = _FIRST


class RateLimitPause:
    """The pause for one model of one provider (`name`); without a directory, of this process only."""

    def __init__(self, directory: Path | None, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._file = None if directory is None else directory / f"{_plain(name)}.hold"
        self._own = _Pause()
        self._now = now

    def remaining(self) -> float:
        """Seconds for which no request should be made."""
        return max(self._read().until - self._now(), 0.0)

    def refused(self, asked_at: float, retry_after: float | None) -> float | None:
        """Note that a request sent at `asked_at` was refused; returns the seconds of a new pause, or None.

        Several requests are refused at once: one that was sent before the pause began tells nothing new.
        """
        now, hold = self._now(), self._read()
        if retry_after is None:
            if asked_at <= hold.since:
                return None
            seconds, step = hold.step, min(hold.step * 2, LONGEST)
        else:
            seconds, step = min(retry_after, LONGEST), hold.step
        if now + seconds <= max(hold.until, now):
            return None
        self._write(_Pause(now, now + seconds, step))
        return seconds

    def accepted(self, asked_at: float) -> None:
        """Note that a request was answered: if it was sent after the last pause began, the next one is short."""
        hold = self._read()
        if hold.step > _FIRST and asked_at > hold.since:
            self._write(_Pause(hold.since, hold.until, _FIRST))

    def _read(self) -> _Pause:
        if self._file is None:
            return self._own
        try:
            hold = _Pause(*_STATE.unpack(read_regular(self._file, limit=_STATE.size, within=None).data))
        except (OSError, struct.error):
            return self._own
        now = self._now()
        sound = 0 <= hold.since <= now and hold.until <= now + LONGEST and _FIRST <= hold.step <= LONGEST
        return hold if sound else _Pause()

    def _write(self, hold: _Pause) -> None:
        self._own = hold
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600)
            try:
                os.write(fd, _STATE.pack(hold.since, hold.until, hold.step))
            finally:
                os.close(fd)


def asks_to_wait(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer means that there are too many requests. (A 503 alone may be an outage.)"""
    return status == 429 or (status == 503 and "retry-after" in headers)


def retry_after(headers: Mapping[str, str], wall: Callable[[], float] = time.time) -> float | None:
    """The seconds that an answer asks to wait, by OpenAI's finer header, as a number or as a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(KeyError, ValueError):
            seconds = float(headers[name]) * unit
            if seconds >= 0:  # not NaN
                return seconds
    with contextlib.suppress(KeyError, ValueError, OverflowError):
        return max(email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp() - wall(), 0.0)
    return None


def _plain(name: str) -> str:
    """A model's name as part of a file's name."""
    return "".join(each if each.isalnum() or each in "-._" else "_" for each in name)[:100]
