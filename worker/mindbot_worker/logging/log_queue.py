"""The log handler of a worker: a bounded queue and one thread that writes."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from mindbot_worker.logging.json_lines import Lines
from mindbot_worker.logging.nonblocking_output import Outlet

DROPPED = "log.dropped"
_CAPACITY = 4000
_PATIENCE = 0.5
_UNQUEUED_PATIENCE = 0.2
"""Seconds that the template waits for a full pipe: nobody talks to it meanwhile."""


class UnqueuedLog(logging.Handler):
    """Writes at once, without a thread; what finds no room in time is lost, and counted by the outlet."""

    def __init__(self, outlet: Outlet, lines: Lines) -> None:
        super().__init__()
        self._outlet, self._lines = outlet, lines

    def emit(self, record: logging.LogRecord) -> None:
        self._outlet.write(self._lines.of(record), _UNQUEUED_PATIENCE)


class LogQueue(logging.Handler):
    """Whoever logs never waits; when nobody reads, old lines below WARNING go first, and the loss is counted."""

    def __init__(self, outlet: Outlet, lines: Lines, capacity: int = _CAPACITY) -> None:
        super().__init__()
        self._outlet = outlet
        self._lines = lines
        self._capacity = capacity
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._stopping = False
        self.dropped = 0
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="mindbot-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        line = self._lines.of(record)
        with self._changed:
            if len(self._waiting) >= self._capacity:
                self._make_room()
            self._waiting.append((record.levelno, line))
            self._changed.notify_all()

    def _make_room(self) -> None:
        self.dropped += 1
        for index, (level, _) in enumerate(self._waiting):
            if level < logging.WARNING:
                del self._waiting[index]
                return
        self._waiting.popleft()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._waiting:
                    self._changed.wait()
                level, line = self._waiting.popleft()
                self._busy = True
            self._write(level, line)

    def _write(self, level: int, line: bytes) -> None:
        # A line that found no room goes back to the front: it is the queue that decides what is lost.
        while not self._outlet.write(line, _PATIENCE):
            with self._changed:
                full = len(self._waiting) >= self._capacity
            if full and level < logging.WARNING:
                self.dropped += 1
                return
            time.sleep(_PATIENCE if not self._stopping else 0.02)
        self._confess()

    def _confess(self) -> None:
        if self.dropped == self._told:
            return
        count, self._told = self.dropped - self._told, self.dropped
        record = logging.makeLogRecord({"name": "mindbot_worker", "levelno": logging.WARNING, "levelname": "WARNING"})
        record.msg = f"{count} log lines were lost because nobody read them"
        record.event, record.count = DROPPED, count
        self._outlet.write(self._lines.of(record), _PATIENCE)

    def drain(self, patience: float) -> None:
        """Give what is queued up to `patience` seconds to be written."""
        deadline = time.monotonic() + patience
        self._stopping = True
        with self._changed:
            while (self._waiting or self._busy) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
