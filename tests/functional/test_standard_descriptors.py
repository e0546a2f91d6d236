"""Started with stdin, stdout and stderr closed: each becomes /dev/null, and nothing else takes its place."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from functional.daemon import DEADLINE, STUB
from mindbot_supervisor import client
from mindbot_supervisor.errors import Unavailable

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("MINDBOT_", "LIVEKIT_", "OPENAI_", "DEEPGRAM_"))}
AGENT = """
from livekit.agents import AgentServer, JobContext

server = AgentServer()

@server.rtc_session()
async def serve(context: JobContext) -> None:
    context.shutdown()
"""
CLOSINGS = {"all": "<&- >&- 2>&-", "stdin": "<&-", "stdout": ">&-", "stderr": "2>&-"}


class Closed:
    """A daemon that was started so; its log goes into a file."""

    def __init__(self, folder: Path, closing: str, *arguments: str, **environ: str) -> None:
        self.log, self.socket = folder / "log.jsonl", folder / "s.sock"
        self.runtime_dir = folder / "s.run"
        run = [sys.executable, "-m", "mindbot_supervisor", "run", "--socket", str(self.socket), "--http", "off"]
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec {shlex.join([*run, *arguments])} {CLOSINGS[closing]}"],
            cwd=folder,
            env={
                **CLEAN,
                "MINDBOT_LOG__FILE": str(self.log),
                "MINDBOT_STATE_DIR": str(folder / "state"),
                "MINDBOT_WORKER__REGISTERED": "false",
                "LIVEKIT_URL": "ws://127.0.0.1:9",
                "LIVEKIT_API_KEY": "devkey",
                "LIVEKIT_API_SECRET": "secret" * 6,
                "PYTHONPATH": str(folder),
                **environ,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> "Closed":
        return self

    def __exit__(self, *_: object) -> None:
        children = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def status(self) -> dict:
        try:
            return client.ask(self.socket, "GET", "/status")
        except Unavailable:
            return {"workers": []}

    def until(self, fact, timeout: float = DEADLINE):
        deadline = time.monotonic() + timeout
        while not (found := fact()):
            assert time.monotonic() < deadline and self.process.poll() is None, self.events()
            time.sleep(0.1)
        return found

    def ready(self, workers: int, timeout: float = DEADLINE) -> list[int]:
        def pids():
            found = [row["pid"] for row in self.status()["workers"] if row["phase"] == "ready"]
            return found if len(found) == workers else None

        return self.until(pids, timeout)

    def events(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line)["event"] for line in lines]


def opened(pid: int) -> list[str]:
    return [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]


def assert_where(pid: int, closing: str) -> None:
    names = opened(pid)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if closing in ("all", name):
            assert names[number] == os.devnull, names
        else:
            assert names[number].startswith("pipe:"), names


@pytest.mark.parametrize("closing", CLOSINGS)
def test_the_daemon_lives_and_upgrades_with_dev_null_in_their_place(tmp_path, closing):
    with Closed(tmp_path, closing, "--workers", "1", "--command", shlex.join([sys.executable, str(STUB)])) as daemon:
        daemon.ready(1)
        assert_where(daemon.process.pid, closing)
        assert (tmp_path / "s.run" / "lock").read_text().strip() == str(daemon.process.pid)
        client.ask(daemon.socket, "POST", "/upgrade", {})
        daemon.until(lambda: "supervisor.upgraded" in daemon.events())
        (worker,) = daemon.ready(1)
        assert_where(daemon.process.pid, closing)
        assert (tmp_path / "s.run" / "lock").read_text().strip() == str(daemon.process.pid)
        names = opened(worker)
        assert names[0] == os.devnull and all(name.startswith("pipe:") for name in names[1:])
        os.kill(worker, signal.SIGKILL)
        assert daemon.until(lambda: [pid for pid in daemon.ready(1) if pid != worker])
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(DEADLINE) == 0


def test_the_template_and_its_workers_have_theirs(tmp_path):
    (tmp_path / "closed_agent.py").write_text(AGENT)
    with Closed(tmp_path, "all", "--workers", "1", "--agent", "closed_agent:server") as daemon:
        (worker,) = daemon.ready(1, 120)
        template = next(
            each for each in psutil.Process(daemon.process.pid).children() if each.name() == "mindbot-image"
        )
        for pid in (worker, template.pid):
            names = opened(pid)
            assert names[0] == os.devnull and all(name.startswith("pipe:") for name in names[1:])
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0


def test_a_worker_that_is_started_with_them_closed_serves(tmp_path):
    (tmp_path / "closed_agent.py").write_text(AGENT)
    worker = f"exec {shlex.join([sys.executable, '-m', 'mindbot_worker', '--agent', 'closed_agent:server'])}"
    command = shlex.join(["sh", "-c", f"{worker} <&- >&- 2>&-"])
    required = {"MINDBOT_WORKER__HEARTBEAT": "required"}
    with Closed(tmp_path, "stdin", "--workers", "1", "--command", command, **required) as daemon:
        (pid,) = daemon.ready(1, 120)
        assert opened(pid) == [os.devnull] * 3
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "code"), [(["status"], 69), (["--no-such-flag"], 2), (["config", "check"], 1), (["--version"], 1)]
)
def test_a_command_without_any_of_them_ends_with_its_own_code(tmp_path, arguments, code):
    """1 where it has something to print: it cannot be written, as other programs say too."""
    command = shlex.join([sys.executable, "-m", "mindbot_supervisor", *arguments])
    ended = subprocess.run(
        ["sh", "-c", f"exec {command} {CLOSINGS['all']}"],
        cwd=tmp_path,
        env={**CLEAN, "MINDBOT_SOCKET": str(tmp_path / "none.sock")},
        timeout=60,
        check=False,
    )
    assert ended.returncode == code
