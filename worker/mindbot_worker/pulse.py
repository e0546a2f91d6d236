"""The two heartbeats: the event loop's, which tells all there is, and a thread's, which proves the process runs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from mindbot_worker.heartbeat import Heartbeat
from mindbot_worker.vitals import Vitals

logger = logging.getLogger(__name__)

_PROBE = 0.1
"""How often the loop's lag is measured; what a beat reports is the worst since the beat before."""
_APART = 0.1
"""Beats on a change are at least this far apart."""
_LATE = 1.5
"""Intervals without a beat of the loop after which the thread speaks: every beat wakes the supervisor."""


class ThreadPulse:
    """Beats while the loop does not: it is blocked, or there is none yet, agent and LiveKit being imported."""

    def __init__(self, heartbeat: Heartbeat, vitals: Vitals, interval: float) -> None:
        self._heartbeat, self._vitals, self._interval = heartbeat, vitals, interval
        self._stopped = threading.Event()

    def start(self) -> None:
        if self._heartbeat.connected:
            threading.Thread(target=self._run, name="mindbot-pulse", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        self._heartbeat.send(self._vitals.thread_beat)
        while not self._stopped.wait(self._interval):
            if time.monotonic() - self._heartbeat.loop_beat_at > _LATE * self._interval:
                self._heartbeat.send(self._vitals.thread_beat)


class LoopPulse:
    """Beats from the worker's own loop: at every interval, and soon after `nudge`."""

    def __init__(self, heartbeat: Heartbeat, vitals: Vitals, interval: float, refresh: Callable[[], None]) -> None:
        self._heartbeat, self._vitals, self._interval, self._refresh = heartbeat, vitals, interval, refresh
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

    def nudge(self) -> None:
        """Something changed: beat now, or as soon as the last beat is far enough away. On the loop only."""
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
            if self._heartbeat.send(lambda seq: self._vitals.beat(seq, lag=lag)):
                self._heartbeat.loop_beat_at = self._sent_at
        except Exception:
            logger.exception("cannot make a heartbeat")
