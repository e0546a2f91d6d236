"""The local stack for tests: stand-ins for the providers, and the real livekit-server where there is one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
PHRASES = ROOT / "tests" / "live" / "phrases" / "phrases.json"
_UP_SECONDS, _DOWN_SECONDS = 30.0, 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """A livekit-server and the credentials it takes."""

    url: str
    api_key: str
    api_secret: str

    @property
    def environment(self) -> dict[str, str]:
        return {"LIVEKIT_URL": self.url, "LIVEKIT_API_KEY": self.api_key, "LIVEKIT_API_SECRET": self.api_secret}


@dataclass(frozen=True, slots=True)
class Local:
    """One running `python -m mindbot_worker.standins`."""

    openai_base_url: str
    deepgram_base_url: str
    livekit: Server | None
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def server(self) -> Server:
        assert self.livekit is not None, "started without livekit-server"
        return self.livekit

    def seen(self, kind: str = "") -> list[dict[str, Any]]:
        """What the stand-ins were asked so far."""
        listed: list[dict[str, Any]] = self._ask("GET", f"/seen?kind={kind}" if kind else "/seen")
        return listed

    def break_next(self, kind: str, fault: str, **details: Any) -> None:
        """The next requests of this kind fail so: see mindbot_worker.standins.faults."""
        self._ask("POST", "/faults", {"kind": kind, "fault": fault, **details})

    def forget(self) -> None:
        """Clears what was seen, and the faults not yet used."""
        self._ask("DELETE", "/seen")
        self._ask("DELETE", "/faults")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        base = self.openai_base_url.removesuffix("/v1")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(base + path, data, method=method), timeout=5) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running_local(*options: str, livekit_server: Path | None = None) -> Iterator[Local]:
    """Runs the stand-ins on free loopback ports, and livekit-server if its path is given; ends both."""
    command = [sys.executable, "-m", "mindbot_worker.standins", "--phrases", str(PHRASES), *options]
    if livekit_server is not None:
        command += ["--livekit-server", str(livekit_server), "--livekit-port", "0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        yield _described(process)
    finally:
        _end(process)


def find_livekit_server() -> Path | None:
    """$MINDBOT_LIVEKIT_SERVER, the one `make livekit-server` built, or one on PATH."""
    named = os.environ.get("MINDBOT_LIVEKIT_SERVER")
    built = ROOT / ".tools" / "livekit-server"
    found = named or (str(built) if built.exists() else shutil.which("livekit-server"))
    return Path(found) if found else None


MISSING = "no livekit-server: run `make livekit-server`, or set MINDBOT_LIVEKIT_SERVER"


def livekit_server_or_exit() -> Path:
    """For a program that cannot do without: it ends, and says what is missing."""
    found = find_livekit_server()
    if found is None:
        sys.exit(MISSING)
    return found


def skip_or_fail(reason: str) -> NoReturn:
    """Skips on a developer's machine; in CI, where everything is there, what is missing is a failure."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    """The stand-ins and a real livekit-server, shared by the tests of a module; import it where it is wanted."""
    path = find_livekit_server()
    if path is None:
        skip_or_fail(MISSING)
    with running_local(livekit_server=path) as stack:
        yield stack


def _described(process: subprocess.Popen[bytes]) -> Local:
    """What the process says of itself in its first line."""
    assert process.stdout is not None
    too_late = Timer(_UP_SECONDS, process.kill)
    too_late.start()
    line = process.stdout.readline()
    too_late.cancel()
    if not line:
        raise RuntimeError(f"the local stack did not start: exit code {process.wait(_DOWN_SECONDS)}, see its stderr")
    where = json.loads(line)
    server = None if where["livekit"] is None else Server(**where["livekit"])
    return Local(where["openai_base_url"], where["deepgram_base_url"], server, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_DOWN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        process.stdout.close()
