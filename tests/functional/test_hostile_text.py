"""What callers and workers say does nothing to the terminal that shows it, and makes no command fail."""

import json
import sys
from pathlib import Path

import pytest

from functional.command_line import assert_one_line, controls, run
from functional.daemon import Daemon
from functional.test_habits import FAST

WORKER = Path(__file__).with_name("hostile_worker.py")
BEATS = {**FAST, "MINDBOT_WORKER__HEARTBEAT": "required", "MINDBOT_LIMITS__MAX_ERRORS": "100000"}
PY_SPY = """#!/bin/sh
while [ "$1" != --output ]; do shift; done
printf 'main;bad\\033[2J\\r\\302\\233\\342\\200\\256 (agent.py:1) 3\\nmain;\\377\\376 2\\nno number at all\\n' > "$2"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """The first worker has died, the second says the same."""
    folder = tmp_path_factory.mktemp("hostile")
    with Daemon(folder, "--workers", "1", "--command", f"{sys.executable} {WORKER}", environ=BEATS) as daemon:
        daemon.wait("worker.exited", worker="0.1")
        daemon.wait("worker.ready", worker="0.2")
        daemon.until(lambda: (daemon.worker("0.2") or {}).get("calls"))
        yield daemon


@pytest.fixture
def ask(daemon, tmp_path):
    tool = tmp_path / "py-spy"
    tool.write_text(PY_SPY)
    tool.chmod(0o755)

    def ask(*words: str, encoding: str = "utf-8"):
        path = f"{tmp_path}:/usr/bin:/bin"
        environ = {"PYTHONIOENCODING": encoding, "PATH": path, "MINDBOT_SOCKET": str(daemon.socket)}
        return run(tmp_path, *words, environ=environ)

    return ask


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("command", [["status"], ["explain", "0"], ["explain", "0.1"], ["profile", "0", "--cpu"]])
def test_no_control_character_reaches_the_terminal(ask, command, encoding):
    done = ask(*command, *(["--seconds", "1"] if command[0] == "profile" else []), encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert not controls(done.stdout), repr(done.stdout)
    assert not controls(done.stderr), repr(done.stderr)
    assert "\\x1b[2J" in done.stdout


@pytest.mark.parametrize("command", [["status", "--json"], ["explain", "0", "--json"], ["explain", "0.1", "--json"]])
def test_json_is_one_line_that_can_be_read_and_does_nothing_to_a_terminal(ask, command):
    done = ask(*command)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert not controls(done.stdout)
    assert "\\u001b[2J" in done.stdout
    assert isinstance(json.loads(done.stdout), dict)


def test_a_daemon_that_ends_with_a_workers_words_shows_them_harmless(tmp_path):
    command = f"{sys.executable} {WORKER} never"
    done = run(tmp_path, "run", "--workers", "1", "--http", "off", "--command", command, environ=BEATS)
    assert_one_line(done, 78, "never \\x1b[2J")
    assert not controls(done.stderr)


def test_a_hostile_name_in_a_question_comes_back_harmless(ask):
    for command in ("explain", "drain", "restart"):
        done = ask(command, "\x1b[2J\u202e\r")
        assert done.returncode == 1
        assert not controls(done.stderr)
        assert "\\x1b[2J" in done.stderr
