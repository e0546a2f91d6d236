"""Turns what a worker writes to stdout and stderr into log records: JSON lines mapped, stray text wrapped, floods
counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mindbot_supervisor.core import log_events


@dataclass(slots=True)
class Lines:
    """A line longer than `longest` bytes is cut there, and what follows up to its newline is dropped."""

    longest: int
    _held: bytearray = field(default_factory=bytearray)
    _skipping: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. An overlong one is given as its first `longest` + 1 bytes."""
        if data.endswith(b"\n") and len(data) <= self.longest and not self._held and not self._skipping:
            return data[:-1].split(b"\n")  # nearly always
        found: list[bytes] = []
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._take(piece, found)
            if not self._skipping:
                found.append(bytes(self._held))
            self._held.clear()
            self._skipping = False
        self._take(rest, found)
        return found

    def _take(self, piece: bytes, found: list[bytes]) -> None:
        if self._skipping:
            return
        self._held += piece
        if len(self._held) > self.longest:
            found.append(bytes(self._held[: self.longest + 1]))
            self._held.clear()
            self._skipping = True

    def peek(self) -> bytes:
        """What came after the last newline; it is kept."""
        return b"" if self._skipping else bytes(self._held)

    def rest(self) -> bytes:
        """What came after the last newline; for the end of the stream."""
        held = bytes(self._held)
        self._held.clear()
        return held


LINE_MAX = 16 * 1024
"""Bytes of a line that are kept."""
RATE, BURST = 500.0, 2000.0
"""Lines per second that one worker may log, and how many at once. More are counted and dropped."""
STACK_LINES = 400

_STACK = re.compile(r'^(Current thread 0x|Thread 0x|Stack \(most recent call first\)|  File "|  <|  \.\.\.)')
_OWN = frozenset({"timestamp", "host", "worker", "slot", "pid"})
_LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})

_RESERVED = ("supervisor.", "worker.", "slot.", "pool.", "call.", "limit.", "beat.", "config.", "orphan.", "claim.")
"""Events that only the supervisor tells: a worker's own word for them is kept as a debug record."""

Write = Callable[[str, str, Mapping[str, object]], None]
"""Takes level, event and fields."""


@dataclass(slots=True)
class Output:
    """Turns one worker's bytes into records. `write` must not block."""

    write: Write
    _lines: Lines = field(default_factory=lambda: Lines(LINE_MAX))
    _allowance: float = BURST
    _filled_at: float = 0.0
    _dropped: int = 0
    _stack: list[str] | None = None
    answered: int = 0
    """Lines of stacks that came since `begin_stack`."""

    def feed(self, data: bytes, now: float) -> None:
        for line in self._lines.feed(data):
            self._line(line, now)

    def close(self, now: float) -> None:
        rest = self._lines.rest()
        if rest:
            self._line(rest, now)
        self._tell_dropped()

    @property
    def dumping(self) -> bool:
        """Between `begin_stack` and `end_stack`."""
        return self._stack is not None

    def begin_stack(self) -> None:
        """From now on lines that look like faulthandler's are kept for `end_stack` instead of logged."""
        if self._stack is None:
            self._stack, self.answered = [], 0

    def mark(self, heading: str) -> None:
        """What comes next is about this process."""
        if self._stack is not None:
            self._stack.append(heading)

    def end_stack(self) -> str | None:
        """The stacks that came since `begin_stack`, or None if none did."""
        stack, self._stack = self._stack, None
        return "\n".join(stack) if stack else None

    def _line(self, line: bytes, now: float) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        if self._stack is not None and _STACK.match(text):
            self.answered += 1
            if len(self._stack) < STACK_LINES:
                self._stack.append(text)
            return
        if not text.strip():
            return
        if not self._may_log(now):
            self._dropped += 1
            return
        self._tell_dropped()
        record = _parse(text)
        if record is None:
            self.write("info", log_events.WORKER_OUTPUT, {"text": text})
        else:
            self.write(*record)

    def _may_log(self, now: float) -> bool:
        """A bucket of BURST lines that fills at RATE."""
        self._allowance = min(BURST, self._allowance + (now - self._filled_at) * RATE)
        self._filled_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _tell_dropped(self) -> None:
        if self._dropped:
            self.write("warning", log_events.OUTPUT_DROPPED, {"lines": self._dropped})
            self._dropped = 0


def _parse(text: str) -> tuple[str, str, Mapping[str, object]] | None:
    """A worker's own JSON record, or None for any other text. Who the worker is, is not for itself to say."""
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    event = record.pop("event", None)
    level = str(record.pop("level", "info")).lower()
    fields: dict[str, object] = {key: value for key, value in record.items() if key not in _OWN}
    if "pid" in record:
        fields["process"] = record["pid"]
    if not isinstance(event, str) or not event:
        return _level(level), log_events.WORKER_LOG, fields
    if event.startswith(_RESERVED) and event != log_events.WORKER_LOG:
        return _level(level, below="debug"), log_events.WORKER_LOG, {"said": event, **fields}
    return _level(level), event, fields


def _level(level: str, below: str = "info") -> str:
    """A known level; and no more than `below` where somebody else reports the same thing at its own level."""
    if below == "debug" and level in ("debug", "info"):
        return "debug"
    return level if level in _LEVELS else "info"
