"""The one request to stop: the first of SIGTERM, SIGINT, SIGHUP or the end of the leash. Later ones mean nothing.

LiveKit's own command line takes a second SIGTERM for "exit now", and every call dies with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from types import FrameType

from mindbot_worker.failures import EX_OK

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """Before there is a loop there are no calls, and a request ends the process at once."""

    def __init__(self) -> None:
        self.reason = ""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()

    def listen_early(self) -> None:
        """Take the signals while agent and LiveKit are still being imported."""
        for number in SIGNALS:
            signal.signal(number, self._on_early_signal)

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take them on the running loop from here on."""
        with self._lock:
            self._loop = loop
        for number in SIGNALS:
            loop.add_signal_handler(number, self.request, signal.Signals(number).name)

    def request(self, reason: str) -> None:
        """From any thread. Only the first request counts."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            loop = self._loop
        if loop is None:
            os._exit(EX_OK)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()

    def _on_early_signal(self, number: int, _: FrameType | None) -> None:
        self.request(signal.Signals(number).name)
