"""Reads one pipe at a limited rate, so that a flood slows its writer and costs the daemon next to nothing."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Protocol

READ_BYTES = 64 * 1024
"""Read at one time, before others have their turn."""
RATE, BURST = 4 * 1024 * 1024.0, 1024 * 1024.0
"""Bytes a second that are read from one pipe, and how many at once. A pipe is never left unread for longer than REST:
its writer is slowed down and not stopped.
"""
REST = 0.05
DRAIN_BYTES = 1024 * 1024
"""Read at the end at most: what was in the pipe."""

Take = Callable[[bytes], int]
"""Takes bytes; returns how many of them. The rest is given again, after others had their turn."""


class Source(Protocol):
    """The owner of a descriptor."""

    def fileno(self) -> int: ...


class RateLimitedReader:
    """Gives what comes from `source` to `take`, from `start` to `stop`; it is stopped before its owner closes it."""

    def __init__(self, source: Source, take: Take, ended: Callable[[], None] = lambda: None) -> None:
        self._source, self._take, self.ended = source, take, ended
        self._loop = asyncio.get_running_loop()
        self._allowance, self._at = BURST, time.monotonic()
        self._held = b""
        self._later: asyncio.Handle | None = None
        self._active = self._reading = False

    def start(self) -> None:
        self._active = True
        self._resume()

    def stop(self) -> None:
        """Give nothing more; what was read and not taken can still be drained."""
        self._active = False
        self._pause()
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def drain(self) -> bytes:
        """What was read and not taken, and what is in the pipe now: others may still hold its other end."""
        found, self._held = bytearray(self._held), b""
        while len(found) < DRAIN_BYTES:
            try:
                data = os.read(self._source.fileno(), READ_BYTES)
            except OSError:
                break
            if not data:
                break
            found += data
        return bytes(found)

    def _read(self) -> None:
        try:
            data = os.read(self._source.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.stop()
            self.ended()
            return
        self._give(data)

    def _give(self, data: bytes) -> None:
        taken = self._take(data)
        self._held = data[taken:]
        now = time.monotonic()
        self._allowance = min(self._allowance + (now - self._at) * RATE, BURST) - taken
        self._at = now
        if not self._active:
            return
        if self._held:
            self._pause()
            self._later = self._loop.call_soon(self._go_on)
        elif self._allowance < 0:
            self._pause()
            self._later = self._loop.call_later(REST, self._go_on)
        else:
            self._resume()

    def _go_on(self) -> None:
        self._later = None
        held, self._held = self._held, b""
        if held:
            self._give(held)
        else:
            self._resume()

    def _resume(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._source.fileno(), self._read)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._source.fileno())
