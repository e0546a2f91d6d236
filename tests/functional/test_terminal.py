"""What a terminal gets: tables with lines and colours, unless it cannot or shall not; plain text everywhere else."""

import contextlib
import os
import pty
import re
import subprocess

import pytest

from functional.command_line import CLEAN, PROGRAM, controls, run
from functional.fake_daemon import STATUS, http, pages, saying, serving

BAD = "\x1b[2Jgone\rover\u202e\x9b\ud800[red]no markup[/red]"
ROWS = [
    {"worker": "0.1", "slot": 0, "phase": "ready", "pid": 4711, "calls": [{}], "lag_ms": 0.4, "uptime": 61.0},
    {"worker": "1.7", "slot": 1, "phase": "parked", "pid": None, "calls": [], "retry_in": 63.0},
    {"worker": "2.1", "slot": 2, "phase": "starting", "pid": 4712, "calls": [], "problem": BAD},
]
ANSWERS = pages(status={**STATUS, "workers": ROWS})
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;)")
STYLES = re.compile(r"\x1b\[[\d;]*m")


def on_terminal(folder, *arguments: str, **environ: str) -> tuple[int, str]:
    """The exit code, and all that a terminal of 120 columns was sent."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        env={**CLEAN, "TERM": "xterm-256color", "COLUMNS": "120", "MINDBOT_SOCKET": str(folder / "s.sock")} | environ,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    sent = b""
    with contextlib.suppress(OSError), os.fdopen(controller, "rb", buffering=0) as reader:
        while data := reader.read(65536):
            sent += data
    return process.wait(60), sent.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal")
    with serving(folder / "s.sock", ANSWERS):
        yield folder


def test_a_terminal_gets_a_table_in_colours(folder):
    code, text = on_terminal(folder, "status")
    assert code == 0
    assert "─" in text
    assert re.search(r"\x1b\[32mready", text)
    assert COLOUR.search(text)


@pytest.mark.parametrize("command", [["status"], ["--help"], ["help", "run"]], ids=" ".join)
def test_no_color_is_kept(folder, command):
    code, text = on_terminal(folder, *command, NO_COLOR="1")
    assert code == 0
    assert not COLOUR.search(text)


@pytest.mark.parametrize("command", [["status"], ["--help"], ["config", "show"], ["statsu"]], ids=" ".join)
def test_a_dumb_terminal_gets_plain_text(folder, command):
    _, text = on_terminal(folder, *command, TERM="dumb")
    assert not controls(text)
    assert "─" not in text and "╭" not in text


@pytest.mark.parametrize("command", [["status"], ["--help"], ["config", "show"]], ids=" ".join)
def test_a_terminal_without_unicode_gets_ascii(folder, command):
    code, text = on_terminal(folder, *command, PYTHONIOENCODING="ascii")
    assert code == 0
    assert text.isascii()


def test_a_pipe_gets_plain_text(folder):
    done = run(folder, "status")
    assert done.returncode == 0
    assert not controls(done.stdout)
    assert re.search(r"^0\.1 +ready +4711 +1 ", done.stdout, re.MULTILINE)
    assert re.search(r"^1\.7 +parked .*next try in 63 s$", done.stdout, re.MULTILINE)


def test_a_pipe_gets_colours_where_they_are_asked_for(folder):
    assert COLOUR.search(run(folder, "status", environ={"FORCE_COLOR": "1"}).stdout)


def test_text_of_others_does_nothing_in_a_table(folder):
    code, text = on_terminal(folder, "status", COLUMNS="250")
    assert code == 0
    assert not controls(STYLES.sub("", text))
    assert r"\x1b[2Jgone\rover\u202e\x9b\ud800[red]no markup[/red]" in STYLES.sub("", text)


@pytest.mark.parametrize("columns", ["20", "80"])
def test_a_narrow_terminal_loses_no_note(folder, columns):
    code, text = on_terminal(folder, "status", COLUMNS=columns)
    assert code == 0
    assert "63 s" in " ".join(text.split())


def test_a_rolling_update_is_a_bar_on_a_terminal(tmp_path):
    def behave(connection, request):
        if b"/restart" in request:
            saying(http({"restarting": [0, 1]}))(connection, request)
            return
        looks.append(True)
        done = min(len(looks) - 1, 2)
        rollout = {"done": done, "total": 2, "active": done < 2, "detail": None}
        saying(http({**STATUS, "supervisor": {**STATUS["supervisor"], "rollout": rollout}}))(connection, request)

    looks = []
    with serving(tmp_path / "s.sock", behave):
        code, text = on_terminal(tmp_path, "restart", "all")
        assert code == 0
        assert "2 of 2 replaced" in text and "━" in text
        looks.clear()
        assert run(tmp_path, "restart", "all").stdout.splitlines()[-1] == "2 of 2 replaced"
