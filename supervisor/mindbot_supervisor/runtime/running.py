"""A live worker's pipes, read as it writes: heartbeats in batches with those of others, output with rests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from mindbot_worker import wire
from mindbot_worker.descriptors import Descriptor

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
        self._in_a_row: dict[Descriptor, int] = {}
        self._closed = False
        self.stack_lock = asyncio.Lock()
        """Held while the stack of one of its job processes is taken: their lines would mix."""

    def watch(self, ended: Callable[[], None]) -> None:
        """`ended` is called when the process may have ended."""
        self._watch(self.child.beats)
        self._watch(self.child.output)
        self._loop.add_reader(self.child.pidfd.fileno(), ended)

    def drain_output(self) -> None:
        """Take what is in the pipe now; others may still hold its other end."""
        self._drain(self.child.output)

    def close(self) -> None:
        """After its end: take its last words, and let go of its descriptors."""
        for pipe in (self.child.beats, self.child.output):
            self._drain(pipe)
        self.output.close(time.monotonic())
        for descriptor in (self.child.beats, self.child.output, self.child.pidfd):
            self._unwatch(descriptor)
        self.child.close()
        self._closed = True

    def _watch(self, pipe: Descriptor) -> None:
        """Beats in batches, and what may be a flood of output alone."""
        if pipe is self.child.beats:
            self._batches.add(pipe.fileno(), partial(self._read, pipe))
        else:
            self._loop.add_reader(pipe.fileno(), self._read, pipe)

    def _unwatch(self, descriptor: Descriptor) -> None:
        if descriptor is self.child.beats:
            self._batches.remove(descriptor.fileno())
        else:
            self._loop.remove_reader(descriptor.fileno())

    def _read(self, pipe: Descriptor) -> None:
        try:
            data = pipe.read(READ_BYTES)
        except BlockingIOError:
            self._in_a_row[pipe] = 0
            return
        except OSError:
            data = b""
        if not data:
            self._unwatch(pipe)
            return
        self._take(pipe, data)
        self._in_a_row[pipe] = self._in_a_row.get(pipe, 0) + len(data) if len(data) == READ_BYTES else 0
        if self._in_a_row[pipe] >= PAUSE_BYTES and not self._closed:
            self._in_a_row[pipe] = 0
            self._unwatch(pipe)
            self._loop.call_later(PAUSE, self._go_on, pipe)

    def _go_on(self, pipe: Descriptor) -> None:
        if not self._closed:
            self._watch(pipe)

    def _drain(self, pipe: Descriptor) -> None:
        for _ in range(PAUSE_BYTES // READ_BYTES):
            try:
                data = pipe.read(READ_BYTES)
            except OSError:
                return
            if not data:
                return
            self._take(pipe, data)

    def _take(self, pipe: Descriptor, data: bytes) -> None:
        now = time.monotonic()
        if pipe is self.child.output:
            self.output.feed(data, now)
            return
        for line in self.beats.feed(data):
            self._take_beat(line, now)
