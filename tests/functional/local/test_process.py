"""The process of the stand-ins: what it says, how it ends, and that it takes its livekit-server along."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from live.livekit import Local, running_local

SERVER = """#!{python}
import http.server, json, os, sys
config = json.loads(os.environ["LIVEKIT_CONFIG"])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
{habit}
http.server.HTTPServer((config["bind_addresses"][0], config["port"]), Answer).serve_forever()
"""


def stand_in(folder: Path, habit: str = "") -> Path:
    """A small program that answers where a livekit-server would."""
    path = folder / "livekit-server"
    path.write_text(SERVER.format(python=sys.executable, habit=habit))
    path.chmod(0o755)
    return path


def child_of(local: Local) -> psutil.Process:
    [child] = psutil.Process(local.process.pid).children()
    return child


def gone(*processes: psutil.Process) -> bool:
    return not psutil.wait_procs(processes, timeout=5)[1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url.replace("ws:", "http:"), timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(true: Callable[[], bool], within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("end", ["stdin", "SIGTERM", "SIGINT", "SIGKILL"])
def test_however_it_ends_no_livekit_server_is_left(tmp_path: Path, end: str) -> None:
    with running_local(livekit_server=stand_in(tmp_path)) as local:
        child = child_of(local)
        assert answers(local.server.url)
        if end == "stdin":
            assert local.process.stdin is not None
            local.process.stdin.close()
        else:
            local.process.send_signal(signal.Signals[end])
        assert local.process.wait(5) == (-signal.SIGKILL if end == "SIGKILL" else 0)
        assert gone(child)


def test_it_ends_at_once_though_clients_hang_on(tmp_path: Path) -> None:
    with running_local() as local:
        local.break_next("llm", "stall")
        host, port = local.openai_base_url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as client:
            body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
            client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            until(lambda: bool(local.seen("llm")))
            began = time.monotonic()
            local.process.terminate()
            assert local.process.wait(5) == 0
            assert time.monotonic() - began < 3


def test_a_livekit_server_that_dies_is_started_again_on_its_port(tmp_path: Path) -> None:
    with running_local(livekit_server=stand_in(tmp_path)) as local:
        first = child_of(local)
        first.kill()
        assert gone(first)
        until(lambda: answers(local.server.url))
        assert child_of(local).pid != first.pid


def test_a_port_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running_local("--livekit-server", str(stand_in(tmp_path)), "--livekit-port", port) as local:
            assert not local.server.url.endswith(f":{port}")
            assert answers(local.server.url)


def test_credentials_for_agents_do_not_reach_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_KEYS", "other: keys")
    monkeypatch.setenv("NODE_IP", "192.0.2.1")
    with running_local(livekit_server=stand_in(tmp_path)) as local:
        names = set(child_of(local).environ())
    assert "LIVEKIT_CONFIG" in names
    assert not names & {"LIVEKIT_KEYS", "NODE_IP"}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--livekit-server", "/nowhere/livekit-server"], 69, "cannot run /nowhere/livekit-server"),
        (["--phrases", "/nowhere/phrases.json"], 78, "cannot read the phrase book"),
        (["--host", "192.0.2.1"], 69, "cannot listen on 192.0.2.1:0"),
        (["--livekit-server", "{broken}"], 69, "livekit-server ended with 3 as it started: no room for me"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(tmp_path: Path, options: list[str], code: int, message: str) -> None:
    broken = stand_in(tmp_path, "print('no room for me', flush=True); sys.exit(3)")
    command = [sys.executable, "-m", "mindbot_worker.standins", *(each.format(broken=broken) for each in options)]
    done = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=20)
    assert done.returncode == code
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_it_starts_without_the_agents_framework() -> None:
    code = "import mindbot_worker.standins.__main__, sys; sys.exit('livekit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 0


def test_stdin_of_a_service_does_not_end_it() -> None:
    with Path(os.devnull).open("rb") as null:
        process = subprocess.Popen(
            [sys.executable, "-m", "mindbot_worker.standins"], stdin=null, stdout=subprocess.PIPE, text=True
        )
    try:
        assert process.stdout is not None
        assert '"livekit": null' in process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
    finally:
        process.terminate()
        assert process.wait(5) == 0
        process.stdout.close()  # type: ignore[union-attr]
