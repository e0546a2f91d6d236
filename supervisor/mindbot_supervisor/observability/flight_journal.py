"""Keeps the flight records of ended workers on disk, bounded in size, and explains workers from them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from mindbot_config.files.read_file import read_regular
from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_supervisor.monitoring.activities import Activity
from mindbot_supervisor.observability.explain import Explainer
from mindbot_supervisor.observability.flight_recorder import ENDED, Json, Recorder

FILE_MAX = 2 * 1024 * 1024
"""Bytes of the file under way; with the one before it, the journal takes twice as much at the most."""
WAITING = 64
"""Entries for a disk that does not keep up; more are dropped."""
CLOSE_WAIT = 2.0
"""Seconds the last entries may take at the end."""
NOW, BEFORE = "flight.jsonl", "flight.1.jsonl"


class Journal:
    """`problem` is called, in the journal's thread, when the journal begins to fail; `writing` is how its thread is."""

    def __init__(
        self,
        folder: Path,
        problem: Callable[[str], None],
        limit: int = FILE_MAX,
        writing: Activity | None = None,
    ) -> None:
        self._folder, self._problem, self._limit = folder, problem, limit
        self._writing = writing or Activity("journal writer", lambda *_: None)
        self._entries: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self._failing = False
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        """Queue one entry. Never blocks and never fails."""
        with suppress(queue.Full):
            self._entries.put_nowait(line.encode() + b"\n")
        if self._thread is None or not self._thread.is_alive():
            self._begin()

    def _begin(self) -> None:
        """A thread that writes, if there can be one now; else the next entry tries again."""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as exc:  # the limit on threads of this user
            self._thread = None
            self._writing.failed(exc)

    def flush(self) -> None:
        """Write what is queued, for CLOSE_WAIT seconds at most, and end the thread; the next entry starts another."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with suppress(queue.Full):
                self._entries.put(None, timeout=CLOSE_WAIT)
            thread.join(CLOSE_WAIT)

    def _run(self) -> None:
        self._writing.run_thread(self._write_entries, threading.Event())

    def _write_entries(self) -> None:
        """Until the end is told. An entry that cannot be written is lost, and the next one is tried."""
        while (entry := self._entries.get()) is not None:
            self._write_or_tell(entry)

    def _write_or_tell(self, entry: bytes) -> None:
        try:
            self._write(entry)
        except OSError as exc:
            why = f"cannot write {self._folder / NOW}: {exc.strerror}"
            if not self._failing:
                self._problem(why)
            self._failing = True
            self._writing.failed(why, quietly=True)
        else:
            self._failing = False
            self._writing.worked()

    def _write(self, entry: bytes) -> None:
        _make(self._folder)
        path = self._folder / NOW
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with ExitStack() as opened:
            file = opened.enter_context(Descriptor(os.open(path, flags, 0o600)))
            size = os.fstat(file.fileno()).st_size
            if size and size + len(entry) > self._limit:
                path.replace(self._folder / BEFORE)
                file.close()
                file = opened.enter_context(Descriptor(os.open(path, flags, 0o600)))
            elif size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # an entry that a full disk cut short
                entry = b"\n" + entry
            _write_all(file, entry)


def _write_all(file: Descriptor, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _make(folder: Path) -> None:
    """The folder, and what is missing above it: for our own user only. Raises OSError."""
    if not folder.exists():
        if not folder.parent.exists():
            _make(folder.parent)
        folder.mkdir(mode=0o700)


def newest_first(folder: Path) -> Iterator[dict[str, Any]]:
    """The entries on disk. Lines that are damaged are skipped. Raises OSError for files that may not be read."""
    for name in (NOW, BEFORE):
        try:
            lines = read_regular(folder / name, limit=FILE_MAX * 4).data.splitlines()
        except FileNotFoundError:
            continue
        for line in reversed(lines):
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and isinstance(entry.get("worker"), str):
                    yield entry


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
        clean: Callable[[Any], Any],
        transcripts: Callable[[], bool],
        failed: Callable[[str], None],
        writing: Activity,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._folder = state_dir / FOLDER
        self._journal = Journal(self._folder, lambda why: self._from_thread(failed, why), writing=writing)
        stamp = {"daemon": os.getpid()}
        self.flights = Recorder(
            self._journal.put, clean, time.monotonic, time.time, transcripts=transcripts, stamp=stamp
        )

    def _from_thread(self, failed: Callable[[str], None], why: str) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(failed, why)

    def tell(self, change: Change) -> None:
        self.flights.change(change)
        if change.event == log_events.WORKER_EXITED and change.worker is not None:
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
