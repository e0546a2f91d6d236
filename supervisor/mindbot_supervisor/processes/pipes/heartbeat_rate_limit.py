"""Limits how many heartbeat lines of a worker are read in a second; of those beyond it only the newest counts.

A worker beats once a second, and at most ten times a second while things change. One that writes without end must not
cost the daemon its CPU, and a beat that is older than another says nothing that the newer one does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LINES, LINES_BURST = 40.0, 100.0
"""Lines a second, and lines at once."""
BYTES, BYTES_BURST = 128 * 1024.0, 512 * 1024.0
"""The same for their bytes: a line of 64 KiB takes some 5 ms to read."""


@dataclass(slots=True)
class HeartbeatRateLimit:
    """The limit of one worker. `dropped` is how many lines were passed over since somebody set it to 0."""

    now: float
    dropped: int = 0
    _lines: float = LINES_BURST
    _bytes: float = BYTES_BURST
    _held: bytes | None = None
    """The newest line beyond the budget, to be taken once there is room."""

    def take(self, lines: Sequence[bytes], now: float) -> Sequence[bytes]:
        """The lines that are within the limit now, in their order."""
        self._refill(now)
        if self._held is None and len(lines) == 1 and self._affords(lines[0]):  # nearly always
            return lines
        if self._held is not None:
            lines, self._held = [self._held, *lines], None
        taken = 0
        while taken < len(lines) and self._affords(lines[taken]):
            taken += 1
        if taken < len(lines):
            self._held = lines[-1]
            self.dropped += len(lines) - taken - 1
        return lines[:taken]

    @property
    def exceeded(self) -> bool:
        """Whether a line waits for room."""
        return self._held is not None

    def last(self) -> list[bytes]:
        """The line that waits, at the end of the stream."""
        held, self._held = self._held, None
        return [] if held is None else [held]

    def _affords(self, line: bytes) -> bool:
        if self._lines < 1.0 or self._bytes < len(line):
            return False
        self._lines -= 1.0
        self._bytes -= len(line)
        return True

    def _refill(self, now: float) -> None:
        passed = max(now - self.now, 0.0)
        self.now = now
        self._lines = min(self._lines + passed * LINES, LINES_BURST)
        self._bytes = min(self._bytes + passed * BYTES, BYTES_BURST)
