"""The write end of the heartbeat pipe: never blocks, never tears a line, shared by the loop and a thread."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from mindbot_worker.descriptors import Descriptor
from mindbot_worker.wire import Beat, encode

MakeBeat = Callable[[int], Beat]


class Heartbeat:
    """Beats written to one pipe, numbered in the order they are written. Without one, it does nothing."""

    def __init__(self, pipe: Descriptor | None) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._pending = b""
        self._seq = 0
        self.dropped = 0
        self.loop_beat_at = float("-inf")
        """When the loop's last beat was sent, on the monotonic clock."""
        if pipe is not None:
            os.set_inheritable(pipe.fileno(), False)
            os.set_blocking(pipe.fileno(), False)

    @property
    def connected(self) -> bool:
        return self._pipe is not None

    def send(self, make: MakeBeat) -> bool:
        """Write the beat that `make` builds for the next number; False if the pipe had no room for it."""
        with self._lock:
            if self._pipe is None:
                return False
            self._flush()
            if self._pending:
                self.dropped += 1
                return False
            self._seq += 1
            self._pending = _line(make(self._seq))
            whole = self._pending
            self._flush()
            if self._pending == whole and self._pipe is not None:
                # not one byte fitted: this beat is lost, the next one will be newer
                self._pending = b""
                self.dropped += 1
                return False
            return self._pipe is not None

    def send_last(self, make: MakeBeat, patience: float) -> bool:
        """As `send`, but worth waiting for: the beat that says why the worker ends."""
        deadline = time.monotonic() + patience
        while not self.send(make):
            left = deadline - time.monotonic()
            pipe = self._pipe
            if pipe is None or left <= 0:
                return False
            poll = select.poll()
            with contextlib.suppress(OSError):  # another thread has just found that nobody listens any more
                poll.register(pipe, select.POLLOUT)
                poll.poll(min(left, 0.05) * 1000)
        while self._pending and time.monotonic() < deadline:
            time.sleep(0.01)
            with self._lock:
                self._flush()
        return not self._pending

    def _flush(self) -> None:
        while self._pending and self._pipe is not None:
            try:
                sent = self._pipe.write(self._pending)
            except BlockingIOError:
                return
            except OSError:
                # nobody listens any more: the leash, not this pipe, decides what follows from that
                self._pipe.close()
                self._pipe, self._pending = None, b""
                return
            self._pending = self._pending[sent:]


def _line(beat: Beat) -> bytes:
    """The encoded beat; one that is too long is cut down to what the supervisor needs most."""
    for shorter in (beat, replace(beat, pids=(), ended=beat.ended[-20:]), replace(beat, pids=(), ended=(), calls=())):
        try:
            return encode(shorter)
        except ValueError:
            continue
    return encode(Beat(seq=beat.seq, state=beat.state, registered=beat.registered, failure=beat.failure))
