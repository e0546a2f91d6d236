"""Turns what a worker writes to stdout and stderr into log records: JSON lines mapped, stray text wrapped, floods
counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mindbot_config.output.rate_limit import TELL_EVERY, Bucket
from mindbot_supervisor.core import log_events
from mindbot_worker.protocol import log_messages


@dataclass(slots=True)
class Lines:
    """Cuts a stream into lines. A line longer than `longest` bytes is cut there, and the rest of it is dropped."""

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

    def drop(self, data: bytes) -> int:
        """Drop `data`, with the beginning of its first line that came before and the rest of its last one; how many
        lines end in it.
        """
        self._held.clear()
        self._skipping = not data.endswith(b"\n") and (bool(data) or self._skipping)
        return data.count(b"\n")

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
RATE, BURST = 200.0, 2000.0
"""Lines per second that one worker may log, and how many at once. More are counted and dropped."""
LINES_AT_ONCE = 200
"""Taken before others have their turn."""
LAST_LINES = 500
"""Taken at the end of a worker, the last ones: what is in its pipe then comes in one piece."""
STACK_LINES = 400

_STACK = re.compile(r'^(Current thread 0x|Thread 0x|Stack \(most recent call first\)|  File "|  <|  \.\.\.)')
_STACK_LINES = re.compile(
    rb"""^(?:Current thread 0x|Thread 0x|Stack \(most recent call first\)|  File "|  <|  \.\.\.).*$""", re.MULTILINE
)
_OWN = frozenset({"timestamp", "host", "worker", "slot", "pid"})
_LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
_TOLD_BY_US = frozenset(value for name, value in vars(log_events).items() if name.isupper() and isinstance(value, str))
"""Events of the supervisor: where a worker tells of the same, its record is of interest only for debugging."""

Write = Callable[[str, str, Mapping[str, object]], None]
"""Takes level, event and fields."""
Later = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds."""


@dataclass(slots=True)
class Output:
    """Turns one worker's bytes into records. `write` must not block. With `later`, what was dropped is told in time
    even if nothing more comes.
    """

    write: Write
    later: Later | None = None
    _lines: Lines = field(default_factory=lambda: Lines(LINE_MAX))
    _bucket: Bucket = field(default_factory=lambda: Bucket(RATE, BURST))
    _dropped: int = 0
    _due: bool = False
    """What was dropped will be told."""
    _stack: list[str] | None = None
    answered: int = 0
    """Lines of stacks that came since `begin_stack`."""

    def feed(self, data: bytes, now: float) -> int:
        """How many bytes were taken: all of them, unless that would be too many lines for one time. In a flood nothing
        is looked at, so that it costs next to nothing.
        """
        room = self._bucket.room(now)
        ends = data.count(b"\n")
        if room < 1:
            self._bucket.take(ends, now)
            self._keep_stack(data)
            self._drop(self._lines.drop(data))
            return len(data)
        wanted = min(LINES_AT_ONCE, int(room))
        if ends > wanted:
            data = data[: len(data) - len(data.split(b"\n", wanted)[-1])]
        for line in self._lines.feed(data):
            self._line(line, now)
        return len(data)

    def feed_all(self, data: bytes, now: float) -> None:
        """Take all of `data` at the end of the stream, or the last LAST_LINES lines."""
        excess = data.count(b"\n") - LAST_LINES
        if excess > 0:
            last = data.rsplit(b"\n", LAST_LINES + 1)
            head, data = last[0] + b"\n", b"\n".join(last[1:])
            self._keep_stack(head)
            self._drop(self._lines.drop(head))
        while data:
            data = data[self.feed(data, now) :]

    def close(self, now: float) -> None:
        rest = self._lines.rest()
        if rest:
            self._line(rest, now)
        self._tell_dropped()

    @property
    def dumping(self) -> bool:
        """Whether stacks are collected: between `begin_stack` and `end_stack`."""
        return self._stack is not None

    def begin_stack(self) -> None:
        """From now on lines that look like faulthandler's are kept for `end_stack` instead of logged."""
        if self._stack is None:
            self._stack, self.answered = [], 0

    def mark(self, heading: str) -> None:
        """Put a heading before the stack that comes next."""
        if self._stack is not None:
            self._stack.append(heading)

    def end_stack(self) -> str | None:
        """The stacks that came since `begin_stack`, or None if none did."""
        stack, self._stack = self._stack, None
        return "\n".join(stack) if stack else None

    def _keep_stack(self, data: bytes) -> None:
        """The lines of stacks in what is dropped otherwise."""
        for found in _STACK_LINES.finditer(data) if self._stack is not None else ():
            self._take_stack(found.group()[:LINE_MAX].decode(errors="replace"))

    def _take_stack(self, text: str) -> None:
        self.answered += 1
        if self._stack is not None and len(self._stack) < STACK_LINES:
            self._stack.append(text)

    def _line(self, line: bytes, now: float) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        if self._stack is not None and _STACK.match(text):
            self._take_stack(text)
            return
        if not text.strip():
            return
        if not self._bucket.take(1, now):
            self._drop(1)
            return
        self._tell_dropped()
        record = _parse(text)
        if record is None:
            self.write("info", log_events.WORKER_OUTPUT, {"text": text})
        else:
            self.write(*record)

    def _drop(self, lines: int) -> None:
        self._dropped += lines
        if self._dropped and not self._due and self.later is not None:
            self._due = True
            self.later(TELL_EVERY, self._tell_in_time)

    def _tell_in_time(self) -> None:
        self._due = False
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        if self._dropped:
            lines, self._dropped = self._dropped, 0
            self.write("warning", log_events.OUTPUT_DROPPED, {"lines": lines})


def _parse(text: str) -> tuple[str, str, Mapping[str, object]] | None:
    """A worker's own JSON record, or None for any other text. Fields that name the worker are ours."""
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
    level = level if level in _LEVELS else "info"
    fields: dict[str, object] = {key: value for key, value in record.items() if key not in _OWN}
    if "pid" in record:
        fields["process"] = record["pid"]
    if isinstance(event, str) and event in log_messages.EVENTS:
        return level, event, fields
    return _foreign(event, level, fields)


def _foreign(event: object, level: str, fields: dict[str, object]) -> tuple[str, str, Mapping[str, object]]:
    """A record under a name that is not the worker's to use: its name becomes a field."""
    if event is None or event == "":
        return level, log_events.WORKER_LOG, fields
    if "message" not in fields and not (isinstance(event, str) and log_messages.NAME.fullmatch(event)):
        return level, log_events.WORKER_LOG, {"message": event, **fields}  # structlog's own word for a message
    if level == "info" and str(event) in _TOLD_BY_US:
        level = "debug"
    return level, log_events.WORKER_LOG, {"said": event, **fields}
