"""The command line by itself, without a daemon: what is wrong is told with what was meant, and help can be had."""

import os
import shutil
import subprocess
import sys

import pytest

from functional.command_line import CLEAN, PROGRAM, assert_one_line, controls, run
from functional.fake_daemon import STATUS, pages, serving

COMMANDS = ["run", "status", "explain", "profile", "restart", "drain", "scale", "reload", "upgrade"]
COMMANDS += ["hold", "release", "stop", "config", "completion", "help"]

MEANT = [
    (["statsu"], "status"),
    (["expalin", "0"], "explain"),
    (["config", "chekc"], "check"),
    (["status", "--jsn"], "--json"),
    (["--wrokers", "3"], "--workers"),
    (["run", "--log-levle", "debug"], "--log-level"),
    (["restart", "all", "--no-wiat"], "--no-wait"),
    (["config", "show", "--confg", "x"], "--config"),
    (["help", "restrat"], "restart"),
    (["completion", "bsah"], "bash"),
]


@pytest.mark.parametrize(("arguments", "meant"), MEANT, ids=lambda each: each if isinstance(each, str) else None)
def test_a_wrong_command_or_flag_is_told_with_what_was_probably_meant(tmp_path, arguments, meant):
    assert_one_line(run(tmp_path, *arguments), 2, "did you mean", meant)


USAGE = [
    ["scale"],
    ["scale", "many"],
    ["scale", "1.5"],
    ["scale", "2000"],
    ["scale", "+2000"],
    ["scale", "-2000"],
    ["scale", ""],
    ["scale", "+"],
    ["scale", "٣"],
    ["scale", "1", "2"],
    ["profile", "0"],
    ["profile", "0", "--cpu", "--memory"],
    ["profile", "0", "--cpu", "--seconds", "0"],
    ["profile", "0", "--cpu", "--seconds", "-5"],
    ["profile", "0", "--cpu", "--seconds", "ten"],
    ["restart"],
    ["restart", "0", "1"],
    ["explain"],
    ["status", "extra"],
    ["status", "--socket"],
    ["status", "--socket", ""],
    ["config"],
    ["config", "schem"],
    ["completion", "tcsh"],
    ["--worker", "3"],
    ["run", "--worker", "3"],
    ["status", "--js"],
    ["restart", "all", "--no"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_bad_usage_is_one_line_and_exit_code_2_and_no_flag_can_be_shortened(tmp_path, arguments):
    assert_one_line(run(tmp_path, *arguments), 2)


@pytest.mark.parametrize("how", [["--help"], ["-h"], ["help"]], ids=" ".join)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_help_names_every_command_on_any_terminal(tmp_path, how, encoding):
    done = run(tmp_path, *how, environ={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()]
    assert [each for each in listed if each in COMMANDS] == COMMANDS


@pytest.mark.parametrize("command", [*COMMANDS, "config check", "config show"])
def test_each_command_tells_its_flags_in_two_ways_alike(tmp_path, command):
    ways = [
        run(tmp_path, *words, environ={"PYTHONIOENCODING": "ascii"})
        for words in ([*command.split(), "--help"], ["help", *command.split()])
    ]
    assert [done.returncode for done in ways] == [0, 0], ways
    assert ways[0].stdout == ways[1].stdout
    assert f"mindbot-supervisor {command}" in ways[0].stdout
    assert ways[0].stdout.isascii()


def test_the_version_is_one_line(tmp_path):
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mindbot-supervisor ") and done.stdout.count("\n") == 1


@pytest.mark.parametrize("command", [["status"], ["stop"], ["hold"], ["explain", "0"], ["scale", "-1"]], ids=" ".join)
def test_the_socket_may_be_named_before_the_command_and_after_it(tmp_path, command):
    path = str(tmp_path / "other.sock")
    for words in (["--socket", path, *command], [f"--socket={path}", *command], [*command, "--socket", path]):
        assert_one_line(run(tmp_path, *words), 69, "other.sock")


LONG = "/tmp/" + "x" * 103
CLIENTS = [["status"], ["status", "--json"], ["stop"], ["restart", "all"], ["drain", "0"], ["scale", "2"], ["reload"]]
CLIENTS += [["upgrade"], ["hold"], ["release"], ["explain", "0"], ["profile", "0", "--cpu"]]


@pytest.mark.parametrize("command", [*CLIENTS, ["run", "--command", "sleep 1"]], ids=" ".join)
def test_a_socket_whose_path_is_too_long_is_told_with_the_limit(tmp_path, command):
    assert_one_line(run(tmp_path, *command, "--socket", LONG), 78, "107", "108")


def test_a_path_of_107_bytes_can_be_used(tmp_path):
    assert_one_line(run(tmp_path, "status", "--socket", LONG[:107]), 69, "no daemon")


def test_words_that_are_not_text_are_told_without_harm(tmp_path):
    done = subprocess.run(
        [*map(os.fsencode, PROGRAM), b"status", b"--socket", b"/tmp/\xff\x1b[2J"],
        capture_output=True, timeout=60, env=CLEAN, check=False,
    )  # fmt: skip
    assert done.returncode == 69
    assert not controls(done.stderr.decode())


# -- completion --------------------------------------------------------------------------------------------------------


def completed(folder, line: str, shell: str = "bash") -> list[str]:
    """What is offered at the end of a line."""
    words = line.split(" ")
    environ = {
        "_MINDBOT_SUPERVISOR_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    command = [sys.executable, "-c", "import sys; from mindbot_supervisor.cli import main; sys.exit(main())"]
    environ = {**CLEAN, "MINDBOT_SOCKET": str(folder / "s.sock"), **environ}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_names_of_commands_are_completed(tmp_path):
    assert completed(tmp_path, "mindbot-supervisor sta") == ["status"]
    assert completed(tmp_path, "mindbot-supervisor re") == ["restart", "reload", "release"]
    assert completed(tmp_path, "mindbot-supervisor config s") == ["show"]
    assert completed(tmp_path, "mindbot-supervisor ") == COMMANDS


def test_flags_are_completed_also_those_of_the_command_that_is_not_named(tmp_path):
    assert completed(tmp_path, "mindbot-supervisor status --j") == ["--json"]
    assert completed(tmp_path, "mindbot-supervisor run --log-") == ["--log-level", "--log-format"]
    assert completed(tmp_path, "mindbot-supervisor --workers 2 --log-") == ["--log-level", "--log-format"]
    assert completed(tmp_path, "mindbot-supervisor --wor") == ["--workers"]


def test_the_names_of_workers_are_asked_of_the_daemon(tmp_path):
    rows = [{"worker": "0.3", "slot": 0}, {"worker": "1.1", "slot": 1}, {"worker": None, "slot": 2}]
    with serving(tmp_path / "s.sock", pages(status={**STATUS, "workers": rows})):
        assert completed(tmp_path, "mindbot-supervisor restart ") == ["0", "1", "2", "0.3", "1.1", "all"]
        assert completed(tmp_path, "mindbot-supervisor explain 0") == ["0", "0.3"]
    assert completed(tmp_path, "mindbot-supervisor restart ") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_served_too(tmp_path, shell):
    assert "status" in " ".join(completed(tmp_path, "mindbot-supervisor sta", shell))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_can_be_printed(tmp_path, shell):
    done = run(tmp_path, "completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_MINDBOT_SUPERVISOR_COMPLETE" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_a_real_bash_completes_by_the_script(tmp_path):
    program = tmp_path / "mindbot-supervisor"
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    script = """
source <(mindbot-supervisor completion bash)
COMP_WORDS=(mindbot-supervisor expl) COMP_CWORD=1
_mindbotsupervisor_completion mindbot-supervisor || _mindbot_supervisor_completion mindbot-supervisor
echo "offered: ${COMPREPLY[*]}"
complete -p mindbot-supervisor
"""
    environ = {**CLEAN, "PATH": f"{tmp_path}:{CLEAN['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert "offered: explain" in done.stdout, done
