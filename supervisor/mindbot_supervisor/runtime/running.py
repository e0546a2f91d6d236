"""A live worker's pipes, read as it writes: heartbeats in batches with those of others, output with rests."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial

from mindbot_worker import wire

from .batches import Batches
from .child import Child
from .lines import Lines
from .output import Output

READ_BYTES = 64 * 1024
"""Read from one pipe before the next one has its turn."""
PAUSE_BYTES, PAUSE = 1024 * 1024, 0.01
"""After so many bytes in a row a pipe rests for so many seconds: a flood may slow its own worker, never the daemon."""

TakeBeat = Callable[[bytes, float], None]
"""Takes a line of the heartbeat pipe, and when it came."""


class Running:
    """Reads from `watch` to `close`."""

    def __init__(self, child: Child, output: Output, batches: Batches, take_beat: TakeBeat) -> None:
        self.child, self.output = child, output
        self.beats = Lines(wire.LINE_MAX)
        self._batches, self._take_beat = batches, take_beat
        self._loop = asyncio.get_running_loop()
        self._in_a_row: dict[int, int] = {}
        self._closed = False
        self.stack_lock = asyncio.Lock()
        """Held while the stack of one of its job processes is taken: their lines would mix."""

    def watch(self, ended: Callable[[], None]) -> None:
        """`ended` is called when the process may have ended."""
        self._watch(self.child.beats)
        self._watch(self.child.output)
        self._loop.add_reader(self.child.pidfd, ended)

    def drain_output(self) -> None:
        """Take what is in the pipe now; others may still hold its other end."""
        self._drain(self.child.output)

    def close(self) -> None:
        """After its end: take its last words, and let go of its descriptors."""
        for fd in (self.child.beats, self.child.output):
            self._drain(fd)
        self.output.close(time.monotonic())
        for fd in (self.child.beats, self.child.output, self.child.pidfd):
            self._unwatch(fd)
        self.child.close()
        self._closed = True

    def _watch(self, fd: int) -> None:
        """Beats in batches, and what may be a flood of output alone."""
        if fd == self.child.beats:
            self._batches.add(fd, partial(self._read, fd))
        else:
            self._loop.add_reader(fd, self._read, fd)

    def _unwatch(self, fd: int) -> None:
        if fd == self.child.beats:
            self._batches.remove(fd)
        else:
            self._loop.remove_reader(fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            self._in_a_row[fd] = 0
            return
        except OSError:
            data = b""
        if not data:
            self._unwatch(fd)
            return
        self._take(fd, data)
        self._in_a_row[fd] = self._in_a_row.get(fd, 0) + len(data) if len(data) == READ_BYTES else 0
        if self._in_a_row[fd] >= PAUSE_BYTES and not self._closed:
            self._in_a_row[fd] = 0
            self._unwatch(fd)
            self._loop.call_later(PAUSE, self._go_on, fd)

    def _go_on(self, fd: int) -> None:
        if not self._closed:
            self._watch(fd)

    def _drain(self, fd: int) -> None:
        for _ in range(PAUSE_BYTES // READ_BYTES):
            try:
                data = os.read(fd, READ_BYTES)
            except OSError:
                return
            if not data:
                return
            self._take(fd, data)

    def _take(self, fd: int, data: bytes) -> None:
        now = time.monotonic()
        if fd == self.child.output:
            self.output.feed(data, now)
            return
        for line in self.beats.feed(data):
            self._take_beat(line, now)
