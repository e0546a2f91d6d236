"""What is wrong is said in one plain line, with the right exit code and no traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from functional.daemon import Daemon, stub

CREDENTIALS = {
    "LIVEKIT_URL": "ws://127.0.0.1:1",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "a-secret-that-nobody-may-see",
    "OPENAI_API_KEY": "sk-nobody-may-see-this-either",
    "DEEPGRAM_API_KEY": "0123456789abcdef0123456789abcdef",
}
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("MINDBOT_", "LIVEKIT_", "OPENAI_", "DEEPGRAM_"))}


def run(folder: Path, *arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mindbot_supervisor", *arguments, "--socket", str(folder / "s.sock")]
    environ = {**CLEAN, "MINDBOT_STATE_DIR": str(folder / "state"), **(environ or {})}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)


def assert_one_plain_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("mindbot-supervisor: error: ")
    assert "Traceback" not in done.stderr + done.stdout
    for word in words:
        assert word in done.stderr
    for name, value in CREDENTIALS.items():
        assert name == "LIVEKIT_URL" or len(value) < 8 or value not in done.stderr + done.stdout


FLAGS = [
    (["--workers", "0"], 2, ["workers", "1 or more"]),
    (["--workers", "-1"], 2, ["workers"]),
    (["--workers", "abc"], 2, ["workers", '"abc"', "whole number"]),
    (["--no-such-flag"], 2, ["--no-such-flag"]),
    (["nonsense"], 2, ["nonsense"]),
    (["--log-level", "loud"], 2, ["level", "loud"]),
    (["--config", "nowhere.toml"], 78, ["nowhere.toml"]),
    (["--env-file", "nowhere.env"], 78, ["nowhere.env"]),
    (["--http", "127.0.0.1"], 2, ["http"]),
]


@pytest.mark.parametrize(("flags", "code", "words"), FLAGS, ids=[" ".join(flags) for flags, *_ in FLAGS])
def test_a_bad_flag(tmp_path, flags, code, words):
    assert_one_plain_line(run(tmp_path, *(flags if flags == ["nonsense"] else ["run", *flags])), code, *words)


FILES = [
    ("[pool]\nworkres = 4\n", ["workres", "workers"]),
    ("[pool]\nworkers = '4'\n", ["pool.workers"]),
    ("[pool]\nworkers = 0\n", ["pool.workers", "1 or more"]),
    ("[polo]\n", ["polo"]),
    ("workers = 4 =\n", ["line 1"]),
    ("[voice]\nmin_silence_duration = 0.1\n", ["min_silence_duration", "0.1", "0.25"]),
    ("[limits]\nsuspect_after = 20\n", ["suspect_after", "hung_after"]),
]


@pytest.mark.parametrize(("text", "words"), FILES)
@pytest.mark.parametrize("command", [["run"], ["config", "check"]], ids=["run", "check"])
def test_a_bad_settings_file(tmp_path, text, words, command):
    (tmp_path / "mindbot.toml").write_text(text)
    assert_one_plain_line(run(tmp_path, *command), 78, *words)


ENVIRONMENTS = [
    ({"MINDBOT_POOL__WORKRES": "4"}, ["WORKRES", "WORKERS"]),
    ({"MINDBOT_POOL__WORKERS": "many"}, ["MINDBOT_POOL__WORKERS", "many"]),
    ({**CREDENTIALS, "LIVEKIT_URL": "not a url"}, ["LIVEKIT_URL"]),
    ({**CREDENTIALS, "LIVEKIT_URL": "ftp://somewhere"}, ["LIVEKIT_URL", "ws://"]),
    ({**CREDENTIALS, "LIVEKIT_API_SECRET": ""}, ["LIVEKIT_API_SECRET"]),
    ({**CREDENTIALS, "OPENAI_API_KEY": ""}, ["OPENAI_API_KEY"]),
]


@pytest.mark.parametrize(("environ", "words"), ENVIRONMENTS)
def test_a_bad_environment(tmp_path, environ, words):
    assert_one_plain_line(run(tmp_path, "run", environ=environ), 78, *words)


def test_an_unreadable_env_file(tmp_path):
    folder = tmp_path / "env"
    folder.mkdir()
    assert_one_plain_line(run(tmp_path, "run", "--env-file", str(folder)), 78, "env")


AGENTS = {
    "missing_module_xyz:server": "missing_module_xyz",
    "empty_agent:server": "server",
    "wrong_agent:server": "AgentServer",
    "raising_agent:server": "this agent is broken",
}


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_that_can_never_start_ends_the_daemon_with_the_workers_words(tmp_path, agent):
    (tmp_path / "empty_agent.py").write_text("")
    (tmp_path / "wrong_agent.py").write_text("server = 42\n")
    (tmp_path / "raising_agent.py").write_text("raise RuntimeError('this agent is broken')\n")
    done = run(tmp_path, "run", "--workers", "2", "--http", "off", "--agent", agent, environ=CREDENTIALS)
    assert_one_plain_line(done, 78, AGENTS[agent])


def test_a_second_daemon_on_the_same_socket_is_refused(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        assert_one_plain_line(run(tmp_path, "run", *stub()), 1, "already running")
        assert daemon.worker("0.1")["phase"] == "ready"
        assert daemon.terminate() == 0


def test_the_socket_of_a_dead_daemon_is_taken_over(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        daemon.process.kill()
        daemon.end()
        daemon.left_behind()
    with Daemon(tmp_path, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        assert daemon.terminate() == 0
    assert not (tmp_path / "s.sock").exists()


def test_a_taken_http_port_is_refused_where_it_was_chosen(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(tmp_path, "run", "--http", f"127.0.0.1:{port}", *stub())
    assert_one_plain_line(done, 1, str(port), "in use")


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["stop"]])
def test_a_client_without_a_daemon(tmp_path, command):
    assert_one_plain_line(run(tmp_path, *command), 69, "no daemon")


def test_a_runtime_directory_that_others_can_write_is_refused(tmp_path):
    unsafe = tmp_path / "unsafe"
    unsafe.mkdir()
    unsafe.chmod(0o777)
    done = run(tmp_path, "run", *stub(), environ={"MINDBOT_RUNTIME_DIR": str(unsafe)})
    assert_one_plain_line(done, 1, "0700")
