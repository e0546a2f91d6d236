"""Runs the real daemon for a test: its log as it comes, its status, its end, and proof that nothing is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

STUB = Path(__file__).with_name("stub.py")
DEADLINE = 30.0
"""Seconds for an event: generous, for machines that are busy."""
Record = dict[str, Any]


class Daemon:
    """One daemon on a socket of its own. Use as a context manager: leaving it ends whatever still runs."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environ: dict[str, str] | None = None,
        socket: str = "s.sock",
        before: Callable[[], object] | None = None,
        flags: tuple[str, ...] = (),
        program: tuple[str, ...] = ("-m", "mindbot_supervisor"),
    ):
        """`before` is done in the new process before it becomes the daemon; `flags` are Python's own."""
        self.socket = folder / socket
        self.log = folder / "daemon.log"
        """Where its records are left for whoever looks into a failure."""
        self.runtime_dir = self.socket.with_suffix(".run")
        self.state_dir = folder / "state"
        command = [sys.executable, *flags, *program, "run", "--socket", str(self.socket), *arguments]
        if "--http" not in arguments:
            command += ["--http", "off"]
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("MINDBOT_", "LIVEKIT_", "OPENAI_", "DEEPGRAM_"))
        }
        self.process = subprocess.Popen(
            command,
            env={**clean, "PYTHONUNBUFFERED": "1", "MINDBOT_STATE_DIR": str(self.state_dir), **(environ or {})},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )
        self.records: list[Record] = []
        self.stray: list[str] = []
        self.errors = ""
        self._new: queue.Queue[Record | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        for each in [self.process.pid, *self.survivors()] if self.process.poll() is None else self.survivors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.process.wait(DEADLINE)
        self.log.write_text(self.tail(len(self.records)) + self.errors)

    def _read_log(self) -> None:
        for line in self._lines():
            try:
                record = json.loads(line)
            except ValueError:
                self.stray.append(line)
                continue
            self.records.append(record)
            self._new.put(record)
        self._new.put(None)

    def _lines(self) -> Iterator[str]:
        with contextlib.suppress(ValueError, OSError):  # a test closed the pipe
            yield from self.process.stdout

    def _read_errors(self) -> None:
        self.errors = self.process.stderr.read()

    # -- its log -------------------------------------------------------------------------------------------------------

    def events(self, event: str | None = None, **fields: object) -> list[Record]:
        """What it has logged so far, by event and by fields."""
        return [record for record in list(self.records) if matches(record, event, fields)]

    def wait(self, event: str | None = None, *, timeout: float = DEADLINE, after: int = 0, **fields: object) -> Record:
        """The first such record from number `after` on, waiting for it if need be."""
        until = time.monotonic() + timeout
        seen = after
        while True:
            while seen < len(self.records):
                if matches(self.records[seen], event, fields):
                    return self.records[seen]
                seen += 1
            left = until - time.monotonic()
            if left <= 0 or (self.process.poll() is not None and not self._readers[0].is_alive()):
                code = self.process.poll()
                told = f"{self.tail()}\n{self.errors}"
                raise AssertionError(f"no {event} {fields} in the log (exit code {code}):\n{told}")
            with contextlib.suppress(queue.Empty):
                self._new.get(timeout=min(left, 0.5))

    def until(self, fact: Callable[[], Any], timeout: float = DEADLINE) -> Any:
        """What `fact` returns once it is true; it is asked again after every record, and at least twice a second."""
        until = time.monotonic() + timeout
        while not (found := fact()):
            if time.monotonic() > until:
                raise AssertionError(f"it never came about:\n{self.tail()}")
            with contextlib.suppress(queue.Empty):
                self._new.get(timeout=0.2)
        return found

    def ready(self, workers: int, timeout: float = DEADLINE) -> None:
        """Wait until so many workers are ready at the same time."""
        self.until(lambda: sum(row["phase"] == "ready" for row in self.status()["workers"]) >= workers, timeout)

    def tail(self, lines: int = 15) -> str:
        return "\n".join(json.dumps(record) for record in self.records[-lines:]) + "".join(self.stray)

    # -- asking it -----------------------------------------------------------------------------------------------------

    def client(self, *arguments: str, timeout: float = DEADLINE) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mindbot_supervisor", *arguments, "--socket", str(self.socket)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def status(self) -> Record:
        """By its socket, as `status --json` gets it; an empty one while it is not there yet."""
        from mindbot_supervisor import client
        from mindbot_supervisor.errors import Unavailable

        try:
            return client.ask(self.socket, "GET", "/status")
        except Unavailable:
            return {"workers": [], "calls": {}, "supervisor": {}}

    def worker(self, name: str) -> Record | None:
        return next((row for row in self.status()["workers"] if row["worker"] == name), None)

    # -- its end -------------------------------------------------------------------------------------------------------

    def terminate(self, timeout: float = DEADLINE) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.end(timeout)

    def end(self, timeout: float = DEADLINE) -> int:
        """Its exit code. All it has logged is read."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    def survivors(self) -> list[int]:
        """Processes, anywhere on the host, that were started for this daemon."""
        found = []
        for process in psutil.process_iter():
            try:
                theirs = process.environ().get("MINDBOT_RUNTIME_DIR") == str(self.runtime_dir)
                if theirs and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def left_behind(self) -> list[int]:
        """What still lives a moment after its end: nothing, if it did its work."""
        until = time.monotonic() + 5
        while (found := self.survivors()) and time.monotonic() < until:
            threading.Event().wait(0.1)
        return found


def matches(record: Record, event: str | None, fields: dict[str, object]) -> bool:
    return event in (None, record.get("event")) and all(record.get(key) == value for key, value in fields.items())


def stub(*words: str) -> list[str]:
    """The flags with which every slot runs the stub worker with these habits."""
    return ["--command", " ".join([sys.executable, str(STUB), *words])]
