"""Sends the worker's heartbeats: complete ones from the event loop, short ones from a thread while that is blocked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mindbot_config.host.descriptors import Descriptor
from mindbot_worker.protocol import heartbeat
from mindbot_worker.protocol.heartbeat import Beat, encode
from mindbot_worker.runtime.call_records import CallRecords

MakeBeat = Callable[[int], Beat]


class HeartbeatPipe:
    """Writes numbered beats to a pipe without ever blocking. Without a pipe it does nothing."""

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
        """As `send`, but wait up to `patience` seconds for room: for the beat that says why the worker ends."""
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
    """The encoded beat; of one that is too long, only what the supervisor needs most."""
    for shorter in (beat, replace(beat, pids=(), ended=beat.ended[-20:]), replace(beat, pids=(), ended=(), calls=())):
        try:
            return encode(shorter)
        except ValueError:
            continue
    return encode(Beat(seq=beat.seq, state=beat.state, registered=beat.registered, failure=beat.failure))


_LIST_MAX = 1024
"""The protocol refuses a longer list."""


@dataclass(slots=True)
class WorkerStatus:
    """Holds what the next beat says. Written on the event loop, read by the heartbeat thread as well."""

    calls: CallRecords
    state: str = heartbeat.STARTING
    registered: bool | None = None
    """None: not meant to be registered."""
    worker_id: str = ""
    load: float = 0.0
    problem: str = ""
    pids: set[int] = field(default_factory=set)
    last_beat: Callable[[int], float | None] = lambda _: None
    """When the event loop of a job process last ran, by its pid."""

    def beat(self, seq: int, *, lag: float, failure: heartbeat.Failure | None = None) -> heartbeat.Beat:
        now = time.monotonic()
        return heartbeat.Beat(
            seq=seq,
            state=self.state,
            registered=self.registered,
            worker_id=self.worker_id,
            lag_ms=_finite(lag * 1000),
            load=_finite(self.load),
            calls=self.calls.live(now, self.last_beat)[:_LIST_MAX],
            ended=self.calls.ended(now)[-_LIST_MAX:],
            errors_total=self.calls.errors_total,
            errors_fatal=self.calls.errors_fatal,
            errors_by=dict(self.calls.errors),
            errors_of_providers=self.calls.errors_of_providers,
            jobs_started=self.calls.jobs_started,
            jobs_failed=self.calls.jobs_failed,
            jobs_storm=self.calls.storm(now),
            pids=tuple(sorted(self.pids - {os.getpid()}))[:_LIST_MAX],
            idle=round(self.calls.idle(now), 2),
            usage=self.calls.usage,
            problem=self.problem,
            failure=failure,
        )

    def thread_beat(self, seq: int) -> heartbeat.Beat:
        return heartbeat.Beat(seq=seq, state=self.state, source=heartbeat.FROM_THREAD)


def _finite(value: float) -> float:
    """A user's load function may return anything; JSON cannot say NaN."""
    return value if math.isfinite(value) and abs(value) < 1e9 else 0.0


logger = logging.getLogger(__name__)

_PROBE = 0.1
"""How often the loop's lag is measured; what a beat reports is the worst since the beat before."""
_APART = 0.1
"""Seconds between two beats that changes cause, at least."""
_LATE = 1.5
"""Intervals without a beat of the loop after which the thread speaks: every beat wakes the supervisor."""


class ThreadHeartbeat:
    """Sends short beats while the loop sends none: it is blocked, or LiveKit and the agent are still being imported."""

    def __init__(self, heartbeat: HeartbeatPipe, status: WorkerStatus, interval: float) -> None:
        self._heartbeat, self._status, self._interval = heartbeat, status, interval
        self._stopped = threading.Event()

    def start(self) -> None:
        if self._heartbeat.connected:
            threading.Thread(target=self._run, name="mindbot-heartbeat", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        self._heartbeat.send(self._status.thread_beat)
        while not self._stopped.wait(self._interval):
            if time.monotonic() - self._heartbeat.loop_beat_at > _LATE * self._interval:
                self._heartbeat.send(self._status.thread_beat)


class LoopHeartbeat:
    """Sends complete beats from the event loop: one in each interval, and one soon after `beat_soon`."""

    def __init__(
        self, heartbeat: HeartbeatPipe, status: WorkerStatus, interval: float, refresh: Callable[[], None]
    ) -> None:
        self._heartbeat, self._status, self._interval, self._refresh = heartbeat, status, interval, refresh
        self._lag = 0.0
        self._sent_at = 0.0
        self._soon: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Measure and beat until cancelled. An error in a beat costs that beat and no more."""
        loop = asyncio.get_running_loop()
        self.beat()
        due = loop.time()
        while True:
            due = max(due + min(_PROBE, self._interval), loop.time())
            await asyncio.sleep(due - loop.time())
            self._lag = max(self._lag, loop.time() - due)
            if time.monotonic() - self._sent_at >= self._interval - _PROBE / 2:
                self.beat()

    def beat_soon(self) -> None:
        """Send a beat for a change: now, or as soon as the last beat is long enough ago. On the loop only."""
        if self._soon is not None:
            return
        wait = self._sent_at + _APART - time.monotonic()
        if wait <= 0:
            self.beat()
        else:
            self._soon = asyncio.get_running_loop().call_later(wait, self.beat)

    def beat(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._sent_at = time.monotonic()
        try:
            self._refresh()
            lag, self._lag = self._lag, 0.0
            if self._heartbeat.send(lambda seq: self._status.beat(seq, lag=lag)):
                self._heartbeat.loop_beat_at = self._sent_at
        except Exception:
            logger.exception("cannot make a heartbeat")
