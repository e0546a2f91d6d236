"""What is remembered of the workers: feeds the flight recorder, keeps its journal on disk, and explains from both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .core import events
from .core.model import Change, Ref
from .ops.explain import Explainer
from .ops.flight import ENDED, Json, Recorder
from .ops.journal import Journal, newest_first
from .runtime.engine import Engine

FOLDER = "flight"
"""In the state directory."""


class Records:
    """`failed` is told once when the journal cannot be written. All methods belong to the loop's thread."""

    def __init__(
        self,
        state_dir: Path,
        *,
        redact: Callable[[str], str],
        transcripts: Callable[[], bool],
        failed: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._folder = state_dir / FOLDER
        self._journal = Journal(self._folder, lambda why: self._from_thread(failed, why))
        stamp = {"daemon": os.getpid()}
        self.flights = Recorder(
            self._journal.put, redact, time.monotonic, time.time, transcripts=transcripts, stamp=stamp
        )

    def _from_thread(self, failed: Callable[[str], None], why: str) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(failed, why)

    def attach(self, engine: Engine) -> None:
        engine.on_beat, engine.on_sample = self.flights.beat, self.flights.sample

    def tell(self, change: Change) -> None:
        self.flights.change(change)
        if change.event == events.WORKER_EXITED and change.worker is not None:
            self._loop.call_soon(self.flights.finish, change.worker)  # after the changes that come with it

    def output(self, ref: Ref, level: str, event: str, fields: Mapping[str, object]) -> None:
        self.flights.output(ref, level, event, fields)

    def explain(self, engine: Engine, status: Json, name: str) -> Json:
        """Raises Refused for a worker that nobody knows."""
        return Explainer(engine.pool, self.flights, time.monotonic(), status).explain(name)

    def recall(self, started: float) -> None:
        """After an upgrade in place: what this process, by an earlier version, has written since `started`."""
        since = time.time() - (time.monotonic() - started)
        with contextlib.suppress(OSError):
            ours = [e for e in newest_first(self._folder) if e.get("daemon") == os.getpid() and e.get("at", 0) >= since]
            self.flights.recall(reversed(ours[:ENDED]))

    def flush(self) -> None:
        """Before this program is replaced by another."""
        self._journal.flush()

    def close(self) -> None:
        self.flights.finish_all()
        self._journal.flush()
