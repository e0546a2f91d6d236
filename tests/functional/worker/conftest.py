"""Real worker processes, with small agents written by each test; every wait is for an event and has a deadline."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mindbot_worker.protocol import heartbeat

PATIENCE = 90.0
"""An import of LiveKit alone takes up to 15 s on a loaded machine."""

KEY = "sk-of-the-test-and-secret"
"""The credential that `providers` sets: it must never be in a log."""

AGENT = """
import asyncio, os, signal, time
from livekit.agents import AgentServer, JobContext

server = AgentServer(num_idle_processes=1)

def simulate(*rooms):
    async def start():
        for room in rooms:
            await server.simulate_job(room, fake_job=True)
    server.on("worker_started", lambda: asyncio.get_running_loop().create_task(start()))

@server.rtc_session()
async def entry(ctx: JobContext):
    await call(ctx)
    ctx.shutdown("done")

"""
"""The beginning of most agents: a test adds `call` and says which rooms to simulate."""


class Worker:
    """A worker process as its supervisor sees it."""

    def __init__(self, directory: Path, arguments: list[str], env: dict[str, str], *, read_output: bool) -> None:
        beats_in, beats_out = os.pipe()
        leash_in, self._leash = os.pipe()
        self.beats: list[tuple[float, heartbeat.Beat]] = []
        self.bad_lines: list[bytes] = []
        self.out: list[str] = []
        self.err: list[str] = []
        self._news = threading.Condition()
        self.directory = directory
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mindbot_worker", *arguments],
            cwd=directory,
            env=env
            | {
                heartbeat.HEARTBEAT_FD: str(beats_out),
                heartbeat.LEASH_FD: str(leash_in),
                heartbeat.RUNTIME_DIR: str(directory),
                heartbeat.WORKER_NAME: "0.1",
                heartbeat.SLOT: "0",
            },
            pass_fds=(beats_out, leash_in),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(beats_out)
        os.close(leash_in)
        self._read(os.fdopen(beats_in, "rb"), self._on_beat)
        if read_output:
            self._read(self.process.stdout, lambda line: self.out.append(line.decode()))
            self._read(self.process.stderr, lambda line: self.err.append(line.decode()))

    def _read(self, stream: Any, take: Callable[[bytes], None]) -> None:
        def run() -> None:
            with contextlib.suppress(ValueError, OSError):
                for line in stream:
                    with self._news:
                        take(line)
                        self._news.notify_all()

        threading.Thread(target=run, daemon=True).start()

    def _on_beat(self, line: bytes) -> None:
        try:
            self.beats.append((time.monotonic(), heartbeat.decode(line.rstrip(b"\n"))))
        except heartbeat.BadBeat:
            self.bad_lines.append(line)

    def wait(self, what: Callable[[], Any], within: float = PATIENCE) -> Any:
        """The first true value of `what`, looked at whenever anything arrives."""
        deadline = time.monotonic() + within
        with self._news:
            while not (value := what()):
                left = deadline - time.monotonic()
                assert left > 0, f"nothing of the kind within {within} s; {self._state()}"
                if self.process.poll() is not None:
                    left = min(left, 1.0)
                    deadline = min(deadline, time.monotonic() + 3.0)
                self._news.wait(min(left, 0.2))
            return value

    def _state(self) -> str:
        last = [beat for _, beat in self.beats if beat.source == heartbeat.FROM_LOOP][-1:]
        return f"exit {self.process.poll()}; last beat {last}; stdout {self.out[-15:]}; stderr {self.err[-15:]}"

    def beat(
        self,
        wanted: Callable[[heartbeat.Beat], Any],
        within: float = PATIENCE,
        after: int = 0,
        source: str = heartbeat.FROM_LOOP,
    ) -> heartbeat.Beat:
        """The first beat of the loop, numbered above `after`, for which `wanted` is true."""

        def find() -> heartbeat.Beat | None:
            fits = (b for _, b in self.beats if b.seq > after and b.source == source and wanted(b))
            return next(fits, None)

        found: heartbeat.Beat = self.wait(find, within)
        return found

    def received_at(self, beat: heartbeat.Beat) -> float:
        return next(at for at, each in self.beats if each is beat)

    @property
    def last_seq(self) -> int:
        return self.beats[-1][1].seq if self.beats else 0

    def records(self, event: str) -> list[dict[str, Any]]:
        """Log lines of `event` so far."""
        with_event = (json.loads(line) for line in self.out if line.startswith("{"))
        return [record for record in with_event if record["event"] == event]

    def exit(self, within: float = PATIENCE) -> int:
        code = self.process.wait(within)
        time.sleep(0.1)  # the readers' threads take what is left in the pipes
        return code

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def leave_output(self) -> None:
        """Close the reading ends of stdout and stderr, as a supervisor that died does."""
        assert self.process.stdout is not None and self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()

    def cut_leash(self) -> None:
        os.close(self._leash)
        self._leash = -1

    def end(self) -> None:
        """The worker leads a session of its own, and all its processes are in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        if self._leash >= 0:
            self.cut_leash()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """start_worker(SOURCE, *, prelude=True, read_output=True, agent="agent_under_test:server", **settings)."""
    workers: list[Worker] = []

    def start(
        source: str | None = None,
        *,
        prelude: bool = True,
        agent: str = "agent_under_test:server",
        read_output: bool = True,
        **environ: str,
    ) -> Worker:
        if source is not None:
            text = textwrap.dedent(source)
            (tmp_path / "agent_under_test.py").write_text(AGENT + text if prelude else text)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MINDBOT_", "LIVEKIT_"))}
        env |= {"MINDBOT_WORKER__REGISTERED": "false", "MINDBOT_LIMITS__BEAT_INTERVAL": "0.5", **environ}
        worker = Worker(tmp_path, ["--agent", agent], env, read_output=read_output)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.end()


@pytest.fixture
def providers() -> Iterator[dict[str, str]]:
    """The environment that points MindBot to the stand-ins."""
    command = [sys.executable, "-m", "mindbot_worker.standins", "--port", "0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    where = json.loads(process.stdout.readline())
    yield {
        "OPENAI_API_KEY": KEY,
        "DEEPGRAM_API_KEY": KEY,
        "MINDBOT_VOICE__OPENAI_BASE_URL": where["openai_base_url"],
        "MINDBOT_VOICE__DEEPGRAM_BASE_URL": where["deepgram_base_url"],
        "MINDBOT_WORKER__SYNTHETIC_INTERVAL": "3600",
    }
    process.stdin.close()
    process.wait(10)
