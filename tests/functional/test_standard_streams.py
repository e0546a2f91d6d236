"""Commands whose output is full, closed, or not there: one plain line at most, and never a traceback."""

import os
import signal
import subprocess

import pytest

from functional.command_line import CLEAN, PROGRAM, assert_one_line, run
from functional.fake_daemon import STATUS, pages, serving, silent

ROW = {"worker": "0.1", "slot": 0, "phase": "ready", "pid": 1, "calls": []}
EXPLAINED = {"alive": False, "worker": None, "slot": 0, "next": []}
ANSWERS = pages(
    status={**STATUS, "workers": [ROW] * 500},
    explain=EXPLAINED,
    scale={"before": 2, "workers": 3},
    drain={"draining": [0]},
    reload={"changed": [], "rolling": False},
    restart={"restarting": [0]},
)
PRINTING = [["--version"], ["--help"], ["help", "run"], ["status"], ["status", "--json"], ["explain", "0"]]
PRINTING += [
    ["explain", "0", "--json"],
    ["config", "show"],
    ["config", "check"],
    ["completion", "bash"],
    ["scale", "3"],
]
PRINTING += [["drain", "0"], ["hold"], ["release"], ["reload"], ["restart", "0", "--no-wait"], ["upgrade"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    with serving(folder / "s.sock", ANSWERS):
        yield folder


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_a_full_disk_is_told_in_one_line(folder, command):
    done = run(folder, *command, shell='exec "$@" >/dev/full')
    assert_one_line(done, 1, "standard output", "No space left on device")


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_a_closed_output_is_told_in_one_line(folder, command):
    assert_one_line(run(folder, *command, shell='exec "$@" >&-'), 1, "standard output", "Bad file descriptor")


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_gone_is_no_error(folder, command, unbuffered):
    readable, writable = os.pipe()
    os.close(readable)
    try:
        done = run(folder, *command, stdout=writable, environ={"PYTHONUNBUFFERED": unbuffered})
    finally:
        os.close(writable)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_takes_one_line_is_no_error(folder):
    done = run(folder, "status", shell='"$@" | head -1; exit 0')
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-", ">/dev/null <&- 2>&-"])
def test_errors_and_input_that_are_closed_change_nothing(folder, closed):
    done = run(folder, "status", shell=f'exec "$@" {closed}')
    assert (done.returncode, done.stderr) == (0, "")
    done = run(folder, "status", "--socket", str(folder / "none"), shell=f'exec "$@" {closed}')
    assert done.returncode == 69


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_nothing_that_can_be_written_is_exit_code_1(folder, closed):
    done = run(folder, "status", shell=f'exec "$@" {closed}')
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_what_was_asked_is_done_though_its_answer_cannot_be_written(tmp_path):
    with serving(tmp_path / "s.sock", ANSWERS) as fake:
        run(tmp_path, "scale", "3", shell='exec "$@" >&-')
        assert fake.asked == ["POST /scale"]


@pytest.mark.parametrize(
    ("encoding", "line"), [("utf-8", "2 → 3 workers\n"), ("ascii", "2 -> 3 workers\n"), ("latin-1", "2 -> 3 workers\n")]
)
def test_what_an_encoding_does_not_have_is_spelled_in_ascii(folder, encoding, line):
    done = run(folder, "scale", "+1", environ={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stdout, done.stderr) == (0, line, "")


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LANG": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, {"LC_ALL": "none"}]
)
def test_any_locale_will_do(folder, locale):
    for command in (["status"], ["scale", "3"], ["--help"]):
        done = run(folder, *command, environ=locale)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [["status"], ["stop"], ["restart", "all"], ["explain", "0"]], ids=" ".join)
def test_ctrl_c_while_it_waits_prints_nothing(tmp_path, command):
    with serving(tmp_path / "s.sock", silent) as fake:
        process = subprocess.Popen(
            [*PROGRAM, *command],
            env={**CLEAN, "MINDBOT_SOCKET": str(fake.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert fake.connected.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
