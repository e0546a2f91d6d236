"""Reads the pipes of live workers: the heartbeats of many workers in one batch, output with pauses."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Sequence

from mindbot_supervisor.processes.launching.child_process import Child
from mindbot_supervisor.processes.pipes.heartbeat_rate_limit import HeartbeatRateLimit
from mindbot_supervisor.processes.pipes.rate_limited_reader import RateLimitedReader
from mindbot_supervisor.processes.pipes.worker_output import Lines, Output
from mindbot_worker.protocol import heartbeat

FEW = 32
"""So many pipes, or fewer, are read at once: a rest, with its timer, would cost more than it saves."""
REST = 0.05
"""Seconds between two batches that follow each other closely; after a longer silence a pipe is read at once."""


class BatchedReader:
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
        """Read this pipe no longer; nothing happens for one that is not read."""
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
"""Read from the heartbeat pipe before others have their turn."""
BYTES_IN_A_ROW = 1024 * 1024
"""After so many bytes in a row the heartbeat pipe rests: a flood may slow its own worker, never the daemon."""
BEATS_PAUSE = 0.1
"""Seconds of a rest, also for a worker that sends more than are read: to cut a pipe's worth of short lines apart takes
1 ms."""

TakeBeat = Callable[[bytes, float], None]
"""Takes a line of the heartbeat pipe, and when it came."""
BeatsDropped = Callable[[int, float], None]
"""Is told how many lines were passed over because the worker sends too many, and when."""


class RunningWorker:
    """One running worker with its pipes, which are read from `watch` to `close`."""

    def __init__(
        self, child: Child, output: Output, batches: BatchedReader, take_beat: TakeBeat, dropped: BeatsDropped
    ) -> None:
        self.child, self.output = child, output
        self.beats = Lines(heartbeat.LINE_MAX)
        self._budget = HeartbeatRateLimit(time.monotonic())
        self._batches, self._take_beat, self._dropped = batches, take_beat, dropped
        self._loop = asyncio.get_running_loop()
        self._reader = RateLimitedReader(child.output, lambda data: self.output.feed(data, time.monotonic()))
        self._in_a_row = 0
        """Bytes of beats without a rest."""
        self._resting: asyncio.TimerHandle | None = None
        self.stack_lock = asyncio.Lock()
        """Held while the stack of one of its job processes is taken: their lines would mix."""

    def watch(self, ended: Callable[[], None]) -> None:
        """Begin to read. `ended` is called when the process may have ended."""
        self._watch_beats()
        self._reader.start()
        self._loop.add_reader(self.child.pidfd.fileno(), ended)

    def drain_output(self) -> None:
        """Take what is in the pipe now; others may still hold its other end."""
        self.output.feed_all(self._reader.drain(), time.monotonic())

    def close(self) -> None:
        """After the end of the process: read what is left in the pipes, and close the descriptors."""
        if self._resting is not None:
            self._resting.cancel()
        self._drain_beats()
        self._batches.remove(self.child.beats.fileno())
        self._reader.stop()
        self.drain_output()
        self.output.close(time.monotonic())
        self._loop.remove_reader(self.child.pidfd.fileno())
        self.child.close()

    # -- heartbeats ----------------------------------------------------------------------------------------------------

    def _watch_beats(self) -> None:
        self._batches.add(self.child.beats.fileno(), self._read_beats)

    def _read_beats(self) -> None:
        try:
            data = self.child.beats.read(READ_BYTES)
        except BlockingIOError:
            self._in_a_row = 0
            return
        except OSError:
            data = b""
        if not data:
            self._batches.remove(self.child.beats.fileno())
            return
        self._take_lines(self.beats.feed(data), time.monotonic())
        self._in_a_row = self._in_a_row + len(data) if len(data) == READ_BYTES else 0
        if self._in_a_row >= BYTES_IN_A_ROW or self._budget.exceeded:
            self._in_a_row = 0
            self._batches.remove(self.child.beats.fileno())
            self._rest()

    def _rest(self) -> None:
        self._resting = self._loop.call_later(BEATS_PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        if self._budget.exceeded:
            self._take_lines([], time.monotonic())
        if self._budget.exceeded:
            self._rest()
        else:
            self._watch_beats()

    def _drain_beats(self) -> None:
        for _ in range(BYTES_IN_A_ROW // READ_BYTES):
            try:
                data = self.child.beats.read(READ_BYTES)
            except OSError:
                break
            if not data:
                break
            self._take_lines(self.beats.feed(data), time.monotonic())
        for line in self._budget.last():
            self._take_beat(line, time.monotonic())

    def _take_lines(self, lines: Sequence[bytes], now: float) -> None:
        for line in self._budget.take(lines, now):
            self._take_beat(line, now)
        if self._budget.dropped:
            dropped, self._budget.dropped = self._budget.dropped, 0
            self._dropped(dropped, now)
