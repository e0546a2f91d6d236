"""A livekit-server that says when workers register and agents are there: the same witness for every contestant."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contest import processes
from contest.command import Skipped
from live.livekit import MISSING, find_livekit_server
from mindbot_worker.standins.livekit_server import API_KEY, API_SECRET, HOST, environment, free_ports

REGISTERED, ACTIVE = "worker registered", "participant active"
UP_SECONDS = 20.0


@dataclass(slots=True)
class Registrations:
    """The moments (monotonic) at which livekit-server wrote that a worker registered."""

    environ: Mapping[str, str]
    """What agents need to find the server, and keys for providers that are never asked."""
    at: list[float] = field(default_factory=list)
    actives: list[tuple[float, str, str]] = field(default_factory=list)
    """When a participant became ACTIVE, its room and its identity."""

    def count(self) -> int:
        return len(self.at)

    def wait(self, count: int, within: float) -> float:
        """The moment of the registration that made it so many since the server's start."""
        processes.until(lambda: len(self.at) >= count, within, f"{count} registrations (so far {len(self.at)})")
        return self.at[count - 1]

    def read(self, server: subprocess.Popen[str]) -> None:
        assert server.stdout is not None
        for line in server.stdout:
            now = time.monotonic()
            with contextlib.suppress(ValueError, AttributeError):
                record = json.loads(line)
                if record.get("msg") == REGISTERED:
                    self.at.append(now)
                elif record.get("msg") == ACTIVE:
                    self.actives.append((now, str(record.get("room")), str(record.get("participant"))))


@contextlib.contextmanager
def witness() -> Iterator[Registrations]:
    """Runs livekit-server on free loopback ports, with a log that tells registrations."""
    path = find_livekit_server()
    if path is None:
        raise Skipped(MISSING)
    ports = free_ports(0)
    server = _started(path, environment(ports))
    found = Registrations(
        {
            "LIVEKIT_URL": f"ws://{HOST}:{ports.http}",
            "LIVEKIT_API_KEY": API_KEY,
            "LIVEKIT_API_SECRET": API_SECRET,
            "OPENAI_API_KEY": "sk-never-asked",
            "DEEPGRAM_API_KEY": "never-asked",
        }
    )
    reader = threading.Thread(target=found.read, args=(server,), daemon=True)
    reader.start()
    try:
        processes.until(lambda: _answers(ports.http, server), UP_SECONDS, "livekit-server answers", 0.05)
        yield found
    finally:
        server.kill()
        server.wait()
        reader.join(5)


def _started(path: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
    config = json.loads(environ["LIVEKIT_CONFIG"])
    config["logging"]["level"] = "info"
    told = {**environ, "LIVEKIT_CONFIG": json.dumps(config)}
    return subprocess.Popen([path], env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _answers(port: int, server: subprocess.Popen[str]) -> bool:
    if server.poll() is not None:
        raise RuntimeError(f"livekit-server ended with {server.returncode} as it started")
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=1):
            return True
    except OSError:
        return False
