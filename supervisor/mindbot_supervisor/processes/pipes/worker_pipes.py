"""Reads the pipes of live workers: the heartbeats of many workers in one batch, output with pauses."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Sequence
from functools import partial

from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.processes.child_process import Child
from mindbot_supervisor.processes.pipes.beat_budget import BeatBudget
from mindbot_supervisor.processes.pipes.worker_output import Lines, Output
from mindbot_worker.protocol import heartbeat

FEW = 32
"""So many pipes, or fewer, are read at once: a rest, with its timer, would cost more than it saves."""
REST = 0.05
"""Seconds between two batches that follow each other closely; after a longer silence a pipe is read at once."""


class Batches:
    """Calls each pipe's reader when there is something to read: many pipes together, at most every REST seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def add(self, fd: int, reader: Callable[[], None]) -> None:
        self._readers[fd] = reader
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Nothing happens for one that is not there."""
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _ready(self) -> None:
        now = self._loop.time()
        if now - self._last < REST and len(self._readers) > FEW:
            self._loop.remove_reader(self._epoll.fileno())
            self._timer = self._loop.call_later(REST, self._go_on)
        self._last = now
        for fd, _ in self._epoll.poll(0):
            reader = self._readers.get(fd)  # one of the others may have removed it
            if reader is not None:
                reader()

    def _go_on(self) -> None:
        self._loop.add_reader(self._epoll.fileno(), self._ready)


READ_BYTES = 64 * 1024
"""Read from one pipe before the next one has its turn."""
PAUSE_BYTES, PAUSE = 1024 * 1024, 0.01
"""After so many bytes in a row a pipe rests for so many seconds: a flood may slow its own worker, never the daemon."""
BEATS_PAUSE = 0.1
"""The same for heartbeats, and for a worker that sends more of them than are read: to cut a pipe's worth of short lines
apart takes 1 ms."""

TakeBeat = Callable[[bytes, float], None]
"""Takes a line of the heartbeat pipe, and when it came."""
BeatsDropped = Callable[[int, float], None]
"""Is told how many lines were passed over because the worker sends too many, and when."""


class Running:
    """Reads from `watch` to `close`."""

    def __init__(
        self, child: Child, output: Output, batches: Batches, take_beat: TakeBeat, dropped: BeatsDropped
    ) -> None:
        self.child, self.output = child, output
        self.beats = Lines(heartbeat.LINE_MAX)
        self._budget = BeatBudget(time.monotonic())
        self._batches, self._take_beat, self._dropped = batches, take_beat, dropped
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
        for line in self._budget.last():
            self._take_beat(line, time.monotonic())
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
        is_beats = pipe is self.child.beats
        if self._in_a_row[pipe] >= PAUSE_BYTES or (is_beats and self._budget.exceeded):
            self._rest(pipe, BEATS_PAUSE if is_beats else PAUSE)

    def _rest(self, pipe: Descriptor, seconds: float) -> None:
        if not self._closed:
            self._in_a_row[pipe] = 0
            self._unwatch(pipe)
            self._loop.call_later(seconds, self._go_on, pipe)

    def _go_on(self, pipe: Descriptor) -> None:
        if self._closed:
            return
        if pipe is self.child.beats and self._budget.exceeded:
            self._take_lines([], time.monotonic())
            if self._budget.exceeded:
                self._loop.call_later(BEATS_PAUSE, self._go_on, pipe)
                return
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
        self._take_lines(self.beats.feed(data), now)

    def _take_lines(self, lines: Sequence[bytes], now: float) -> None:
        for line in self._budget.take(lines, now):
            self._take_beat(line, now)
        if self._budget.dropped:
            dropped, self._budget.dropped = self._budget.dropped, 0
            self._dropped(dropped, now)
