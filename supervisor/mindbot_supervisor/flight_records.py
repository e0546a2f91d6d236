"""What is remembered of the workers: feeds the flight recorder, keeps its journal on disk, and explains from both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .activities import Activity
from .core import events
from .core.model import Change, Ref
from .core.pool import Pool
from .ops.explain import Explainer
from .ops.flight import ENDED, Json, Recorder
from .ops.journal import Journal, newest_first

FOLDER = "flight"
"""In the state directory."""
LAST_WORDS = 0.1
"""Seconds from a worker's end until its record is put together: what its job processes wrote last has come by then, and
callers who are alone are not kept waiting (5 ms, and a thread to start)."""


class FlightRecords:
    """`failed` is told once when the journal cannot be written. All methods belong to the loop's thread."""

    def __init__(
        self,
        state_dir: Path,
        *,
        redact: Callable[[str], str],
        transcripts: Callable[[], bool],
        failed: Callable[[str], None],
        writing: Activity,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._folder = state_dir / FOLDER
        self._journal = Journal(self._folder, lambda why: self._from_thread(failed, why), writing=writing)
        stamp = {"daemon": os.getpid()}
        self.flights = Recorder(
            self._journal.put, redact, time.monotonic, time.time, transcripts=transcripts, stamp=stamp
        )

    def _from_thread(self, failed: Callable[[str], None], why: str) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(failed, why)

    def tell(self, change: Change) -> None:
        self.flights.change(change)
        if change.event == events.WORKER_EXITED and change.worker is not None:
            self._loop.call_later(LAST_WORDS, self.flights.finish, change.worker)

    def output(self, ref: Ref, level: str, event: str, fields: Mapping[str, object]) -> None:
        self.flights.output(ref, level, event, fields)

    def explain(self, pool: Pool, status: Json, name: str) -> Json:
        """Raises Refused for a worker that nobody knows."""
        self.flights.finish_ended()
        return Explainer(pool, self.flights, time.monotonic(), status).explain(name)

    def saved(self) -> list[str]:
        """The records of the living workers, for the version of this program that comes next."""
        self.flights.finish_ended()
        return self.flights.saved()

    def resume(self, saved: Iterable[str], started: float) -> None:
        """After an upgrade in place: the living workers' records, and what this process has written since `started`."""
        self.flights.restore(saved)
        since = time.time() - (time.monotonic() - started)
        with contextlib.suppress(OSError):
            ours = [e for e in newest_first(self._folder) if e.get("daemon") == os.getpid() and e.get("at", 0) >= since]
            self.flights.recall(reversed(ours[:ENDED]))

    def close(self) -> None:
        """Nothing more comes: write what is complete."""
        self.flights.finish_ended()
        self._journal.flush()
