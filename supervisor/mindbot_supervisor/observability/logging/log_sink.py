"""Where log lines go: queues and threads that write them, so that no reader and no disk ever stops the daemon."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mindbot_supervisor.observability.logging.log_file import LogFile

OUTPUT_KEPT, OUTPUT_KEPT_BYTES = 5_000, 2 * 1024 * 1024
"""Lines waiting, and their bytes, above which workers' own output is dropped (and counted)."""
KEPT, KEPT_BYTES = 50_000, 8 * 1024 * 1024
"""The same for anything: hours of lifecycle events for a reader that went away, or a disk that is full."""
BATCH_BYTES = 256 * 1024
"""Written at one time."""
RETRY_FIRST, RETRY_MAX = 0.1, 1.0
"""Seconds until a failed write is tried again, doubled each time."""
TELL_EVERY = 10.0
"""Seconds between two reports of lost lines while more of them are lost."""
CLOSE_WAIT = 2.0
"""Seconds the last lines may take at the end."""

STALLED_AFTER = 10.0
"""Seconds after which a target that takes nothing, though lines wait, is a problem."""

FAILED, LOST = "failed", "lost"
Tell = Callable[[str, str, int], None]
"""Takes FAILED or LOST, the text for people, and how many lines were lost. Called in a thread of the sink."""


class Target(Protocol):
    """Something that takes bytes."""

    def prepare(self) -> bool:
        """Before each write: True if it will go to another file than the one before. Raises OSError."""

    def write(self, data: bytes) -> int:
        """How many bytes were taken. Raises OSError."""

    def close(self) -> None:
        """Nothing more comes."""


class Stream:
    """A descriptor that belongs to the whole process, such as standard output."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def prepare(self) -> bool:
        return False

    def write(self, data: bytes) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:  # whoever shares it has made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(1000)

    def close(self) -> None:
        """The descriptor is not ours to close."""


@dataclass(frozen=True, slots=True)
class Health:
    """How one target is doing, for whoever watches over the sink."""

    target: str
    alive: bool
    """Its thread runs."""
    waiting: int
    """Lines that are not written yet."""
    stalled_for: float
    """Seconds since something was written, while there is something to write."""
    problem: str
    """Why the last attempt failed; empty if it did not."""
    lost: int
    """Lines, since the start."""

    @property
    def ok(self) -> bool:
        return self.alive and not self.problem


class Writer:
    """One target with its queue and its thread. `put` never blocks and never fails."""

    def __init__(self, name: str, target: Target, tell: Tell) -> None:
        self.name = name
        self._target, self._tell = target, tell
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._rest = b""
        """What is left of a batch that was written in part, or not at all."""
        self._torn = False
        """The rest begins in the middle of a line."""
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._busy = False
        self._problem = ""
        self.lost = self._told = 0
        self._told_at = float("-inf")
        self._progress_at = time.monotonic()
        self._thread: threading.Thread | None = None
        """None while none can be started."""
        with contextlib.suppress(RuntimeError):
            self._start()

    def put(self, line: bytes, *, droppable: bool) -> None:
        lines, size = (OUTPUT_KEPT, OUTPUT_KEPT_BYTES) if droppable else (KEPT, KEPT_BYTES)
        with self._wake:
            if len(self._lines) >= lines or self._bytes + len(line) > size:
                self.lost += 1
                return
            if not (self._lines or self._rest or self._busy):
                self._progress_at = time.monotonic()
            self._lines.append(line)
            self._bytes += len(line)
            self._wake.notify_all()

    def flush(self, wait: float) -> None:
        """Wait until what is queued is written, for so many seconds at most."""
        with self._wake:
            self._wake.wait_for(lambda: not (self._lines or self._rest or self._busy), wait)

    def close(self, wait: float) -> None:
        with self._wake:
            self._closing.set()
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(wait)

    def health(self) -> Health:
        with self._wake:
            waiting = len(self._lines) + bool(self._rest or self._busy)
            stalled = time.monotonic() - self._progress_at if waiting else 0.0
            return Health(self.name, self._is_alive(), waiting, stalled, self._problem, self.lost)

    def revive(self) -> bool:
        """Start its thread again if it has died; whether it had. Raises RuntimeError where none can be started."""
        if self._is_alive() or self._closing.is_set():
            return False
        self._start()
        return True

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"log to {self.name}", daemon=True)
        thread.start()
        self._thread = thread

    def _run(self) -> None:
        pause = RETRY_FIRST
        while (batch := self._next()) is not None:
            try:
                if self._target.prepare():
                    batch = self._from_next_line(batch)
                self._written(batch, self._target.write(batch))
                pause = RETRY_FIRST
            except Exception as exc:  # whatever it is, the log goes on as soon as it can
                self._failed(batch, exc)
                if self._closing.wait(pause):
                    break
                pause = min(pause * 2, RETRY_MAX)
        self._target.close()

    def _next(self) -> bytes | None:
        """What is to be written next; None at the end."""
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._lines or self._rest or self._closing.is_set())
            batch, self._torn = self._rest or self._batch(), self._torn and bool(self._rest)
            self._rest = b""
            self._busy = bool(batch)
            return batch or None

    def _batch(self) -> bytes:
        taken: list[bytes] = []
        size = 0
        while self._lines and size < BATCH_BYTES:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        self._bytes -= size
        return b"".join(taken)

    def _from_next_line(self, batch: bytes) -> bytes:
        """The end of a line that was begun in another file belongs nowhere."""
        if not self._torn:
            return batch
        self._torn = False
        self.lost += 1
        return batch[batch.find(b"\n") + 1 :]

    def _written(self, batch: bytes, count: int) -> None:
        with self._wake:
            self._rest = batch[count:]
            self._torn = bool(self._rest) and batch[count - 1 : count] != b"\n" and (count > 0 or self._torn)
            self._progress_at = time.monotonic()
            self._problem = ""
            lost = self.lost - self._told
            if not lost or time.monotonic() < self._told_at + TELL_EVERY:
                return
            self._told, self._told_at = self.lost, time.monotonic()
        self._say(LOST, f"{lost} lines for {self.name} were lost while it took none", lost)

    def _failed(self, batch: bytes, exc: Exception) -> None:
        problem = exc.strerror if isinstance(exc, OSError) and exc.strerror else f"{type(exc).__name__}: {exc}"
        with self._wake:
            self._rest = batch
            first, self._problem = not self._problem, problem
            if isinstance(exc, BrokenPipeError):  # this reader will not come back; another one begins with what is new
                self.lost += batch.count(b"\n")
                self._rest, self._torn = b"", False
        if first:
            self._say(FAILED, f"cannot write the log to {self.name}: {problem}; it is tried again", 0)

    def _say(self, kind: str, text: str, lost: int) -> None:
        with contextlib.suppress(Exception):
            self._tell(kind, text, lost)


class Sink:
    """Gives each line to standard output, and to a file where there is one."""

    def __init__(self, fd: int | None = 1, path: Path | None = None, *, later: bool = False) -> None:
        """Raises OSError where the file cannot be opened; with `later` it is opened with the first line instead."""
        self.tell: Tell = lambda kind, text, lost: None
        """Is told of lost lines, and of a target that fails, in a thread of the sink."""
        targets: list[tuple[str, Target]] = [(str(path), LogFile(path, later=later))] if path is not None else []
        if fd is not None:
            targets.append(("standard output", Stream(fd)))
        self._writers = [Writer(name, target, lambda *news: self.tell(*news)) for name, target in targets]

    @property
    def dropped(self) -> int:
        """Lines lost so far, by any target."""
        return sum(writer.lost for writer in self._writers)

    def put(self, line: bytes, *, droppable: bool = False) -> None:
        """Queue a line, its newline included. Never blocks and never fails."""
        for writer in self._writers:
            writer.put(line, droppable=droppable)

    def flush(self) -> None:
        """Wait until what is queued is written, for CLOSE_WAIT seconds at most."""
        until = time.monotonic() + CLOSE_WAIT
        for writer in self._writers:
            writer.flush(max(until - time.monotonic(), 0.0))

    def close(self) -> None:
        """Write what is queued, for CLOSE_WAIT seconds at most."""
        until = time.monotonic() + CLOSE_WAIT
        for writer in self._writers:
            writer.close(max(until - time.monotonic(), 0.0))

    def health(self) -> tuple[Health, ...]:
        """How each target is doing."""
        return tuple(writer.health() for writer in self._writers)

    def problem(self) -> str | None:
        """What is wrong with a target now, in one line; None while all of them take lines."""
        for each in self.health():
            if each.problem:
                return f"cannot write to {each.target}: {each.problem}"
            if each.stalled_for >= STALLED_AFTER:
                return f"{each.target} has taken nothing for {each.stalled_for:.0f} s; {each.waiting} lines wait"
        return None

    def revive(self) -> None:
        """Start the threads that have died again. Raises RuntimeError, with the targets' names, if there were any, or
        where no thread can be started.
        """
        dead = [writer.name for writer in self._writers if writer.revive()]
        if dead:
            raise RuntimeError(f"the thread that writes to {' and to '.join(dead)} had ended; it is started again")
