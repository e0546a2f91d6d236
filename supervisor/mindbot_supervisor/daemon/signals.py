"""Signals to the daemon. Their handlers only enqueue; they are served one after the other, between other work."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping

SIGNALS = tuple(signal.Signals[f"SIG{name}"] for name in ("TERM", "INT", "HUP", "USR1", "USR2", "TTIN", "TTOU"))


class Signals:
    """`actions` may come later than the first signal: until then signals wait."""

    def __init__(self) -> None:
        self.actions: Mapping[int, Callable[[], object]] = {}
        self._came: asyncio.Queue[int] = asyncio.Queue()

    def listen(self) -> None:
        """Those that came while an upgrade had them blocked are the first."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._came.put_nowait, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    async def next(self) -> int:
        return await self._came.get()

    def serve(self, number: int) -> None:
        self.actions[number]()
