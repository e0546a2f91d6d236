"""Writes log lines in a thread of its own, so that a reader who stops reading never stops the daemon."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from pathlib import Path

OUTPUT_KEPT = 5_000
"""Lines waiting, above which workers' own output is dropped (and counted)."""
KEPT = 50_000
"""Lines waiting, above which anything is dropped: hours of lifecycle events for a reader that went away."""
CLOSE_WAIT = 2.0
"""Seconds the last lines may take at the end."""


class Sink:
    """A bounded queue of lines and the thread that writes them to a descriptor, or to a file reopened when moved."""

    def __init__(self, fd: int | None = 1, path: Path | None = None) -> None:
        self._fd = fd
        self._file = _File(path) if path is not None else None
        self._lines: deque[bytes] = deque()
        self._wake = threading.Condition()
        self._closing = self._writing = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: bytes, *, droppable: bool = False) -> None:
        """Queue a line, its newline included. Never blocks and never fails."""
        with self._wake:
            if len(self._lines) >= (OUTPUT_KEPT if droppable else KEPT):
                self.dropped += 1
                return
            self._lines.append(line)
            self._wake.notify_all()

    def flush(self) -> None:
        """Wait until what is queued is written, for CLOSE_WAIT seconds at most."""
        with self._wake:
            self._wake.wait_for(lambda: not self._lines and not self._writing, CLOSE_WAIT)

    def close(self) -> None:
        """Write what is queued, for CLOSE_WAIT seconds at most."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(CLOSE_WAIT)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._lines or self._closing)
                batch = b"".join(self._lines)
                self._lines.clear()
                if not batch and self._closing:
                    return
                self._writing = True
            self._write(batch)
            with self._wake:
                self._writing = False
                self._wake.notify_all()

    def _write(self, batch: bytes) -> None:
        if self._fd is not None:
            try:
                _write_all(self._fd, batch)
            except OSError:  # nobody reads any more; supervision goes on without a log
                self._fd = None
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk: the lines are lost, the calls are not
                self._file.write(batch)


class _File:
    """A log file that may be moved away by logrotate at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, batch: bytes) -> None:
        if self._moved():
            os.close(self._fd)
            self._fd = self._open()
        _write_all(self._fd, batch)

    def _moved(self) -> bool:
        try:
            there = self._path.stat()
        except OSError:
            return True
        here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
