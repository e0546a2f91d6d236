"""Whatever a command raises becomes one line on stderr and an exit code."""

import pytest

from mindbot_supervisor import client
from mindbot_supervisor.cli import app, main
from mindbot_supervisor.errors import BadConfig, Refused, Unavailable


def failing(error):
    def ask(*_, **__):
        raise error

    return ask


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Refused("not now"), 1, "not now"),
        (Unavailable("nobody there"), 69, "nobody there"),
        (BadConfig("bad\nsettings"), 78, "bad settings"),
        (RuntimeError("a bug\x1b[2J"), 70, "internal error: RuntimeError: a bug\\x1b[2J; set MINDBOT_TRACEBACK=1"),
        (RecursionError("deep"), 70, "RecursionError"),
        (MemoryError(), 70, "MemoryError"),
        (OSError(5, "Input/output error"), 70, "Input/output error"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(monkeypatch, capsys, error, code, said):
    monkeypatch.delenv("MINDBOT_TRACEBACK", raising=False)
    monkeypatch.setattr(client, "ask", failing(error))
    assert main(["hold", "--socket", "s"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mindbot-supervisor: error: ") and err.count("\n") == 1
    assert said in err


def test_ctrl_c_is_130_and_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(client, "ask", failing(KeyboardInterrupt))
    assert main(["status", "--socket", "s"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("MINDBOT_TRACEBACK", "1")
    monkeypatch.setattr(client, "ask", failing(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        main(["hold", "--socket", "s"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["run"]),
        (["--workers", "2"], ["run", "--workers", "2"]),
        (["status", "--json"], ["status", "--json"]),
        (["--socket", "s", "status"], ["--socket", "s", "status"]),
        (["--socket=s", "--local"], ["--socket=s", "run", "--local"]),
        (["--socket", "status"], ["--socket", "status", "run"]),
        (["--help"], ["--help"]),
        (["--socket", "s", "--version"], ["--socket", "s", "--version"]),
    ],
)
def test_run_is_meant_where_no_command_is_named(arguments, expected):
    assert app.with_command(arguments) == expected


@pytest.mark.parametrize(
    "arguments",
    [["--workers", "3", "--socket", "s"], ["run", "--workers", "3", "--socket=s"], ["--socket", "s", "--workers=3"]],
)
def test_the_flags_of_the_daemon_can_be_read_without_running_it(arguments):
    flags = app.flags_of_run(arguments)
    assert (flags["workers"], flags["socket"], flags["agent"], flags["local"]) == ("3", "s", None, False)


@pytest.mark.parametrize("arguments", [["status"], ["--wrokers", "3"], ["run", "extra"], ["statsu"]])
def test_what_does_not_run_the_daemon_has_no_such_flags(arguments):
    with pytest.raises(Exception, match=r"is not the command|no flag|extra"):
        app.flags_of_run(arguments)
