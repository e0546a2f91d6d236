"""A `--command` that can never be run: said in one line with code 78, before any worker is started."""

import shlex
from pathlib import Path

import pytest

from functional.daemon import Daemon, stub
from functional.test_bad_input import assert_one_plain_line, run


def script(folder: Path, name: str, text: str, mode: int = 0o755) -> str:
    path = folder / name
    path.write_bytes(text.encode())
    path.chmod(mode)
    return f"./{name}"


MADE = {
    "missing": (lambda folder: "no-such-program --flag", ["no-such-program", "PATH"]),
    "missing, with a path": (lambda folder: "./no-such-program", ["./no-such-program"]),
    "not executable": (lambda folder: script(folder, "p", "#!/bin/sh\n", 0o600), ["p is not executable", "chmod"]),
    "missing interpreter": (lambda folder: script(folder, "p", "#!/opt/python9\n"), ["/opt/python9 does not exist"]),
    "missing for env": (lambda folder: script(folder, "p", "#!/usr/bin/env python9\n"), ["'python9' is not on PATH"]),
    "crlf": (lambda folder: script(folder, "p", "#!/bin/sh\r\nsleep 9\r\n"), ["Windows line ends"]),
    "a directory": (lambda folder: "/tmp", ["/tmp is a directory"]),
    "no program": (lambda folder: script(folder, "p", "just text\n"), ["neither a program nor a script"]),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("by", ["flag", "file"])
def test_it_is_refused_at_start_and_nothing_is_left(tmp_path, kind, by):
    make, words = MADE[kind]
    command = make(tmp_path)
    flags = ["--command", command]
    if by == "file":
        (tmp_path / "mindbot.toml").write_text(f"[pool]\ncommand = '{command}'\n")
        flags = []
    done = run(tmp_path, "run", "--http", "off", *flags)
    assert_one_plain_line(done, 78, "pool.command", *words)
    assert not done.stdout
    assert not (tmp_path / "s.sock").exists() and not (tmp_path / "s.run").exists()
    assert_one_plain_line(run(tmp_path, "config", "check", *flags), 78, "pool.command", *words)


def test_its_arguments_are_shown_to_nobody(tmp_path):
    done = run(tmp_path, "run", "--command", "no-such-program --token hush-hush-hush")
    assert_one_plain_line(done, 78, "no-such-program")
    assert "hush" not in done.stderr


def test_a_reload_that_names_one_is_refused_and_the_old_stays(tmp_path):
    settings = tmp_path / "mindbot.toml"
    good = shlex.join(shlex.split(stub()[1]))
    settings.write_text(f'[pool]\nworkers = 1\ncommand = "{good}"\n')
    with Daemon(tmp_path) as daemon:
        daemon.ready(1)
        command = script(tmp_path, "p", "#!/bin/sh\r\nsleep 9\r\n")
        settings.write_text(f'[pool]\nworkers = 2\ncommand = "{command}"\n')
        done = daemon.client("reload")
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "Windows line ends" in done.stderr and "stay in force" in done.stderr
        assert "Windows line ends" in daemon.wait("config.rejected")["detail"]
        assert [row["worker"] for row in daemon.status()["workers"]] == ["0.1"]
        assert daemon.terminate() == 0


def test_a_program_that_goes_missing_later_is_told_in_words_and_found_again(tmp_path):
    """A deployment replaces it: that is no reason to end the daemon."""
    script(tmp_path, "p", "#!/bin/sh\nexec sleep 1000\n")
    with Daemon(tmp_path, "--workers", "1", "--command", "./p") as daemon:
        daemon.ready(1)
        script(tmp_path, "p", "#!/bin/sh\r\nexec sleep 1000\r\n")
        daemon.client("restart", "0", "--no-wait")
        daemon.until(lambda: any("Windows line ends" in each.get("detail", "") for each in daemon.events()))
        assert daemon.worker("0.1")["phase"] == "ready"
        script(tmp_path, "p", "#!/bin/sh\nexec sleep 1000\n")
        daemon.client("restart", "0", "--no-wait")
        daemon.until(lambda: [r for r in daemon.status()["workers"] if r["worker"] > "0.1" and r["phase"] == "ready"])
        assert daemon.terminate() == 0


def test_an_upgrade_does_not_end_what_runs_for_a_program_that_is_missing_now(tmp_path):
    script(tmp_path, "p", "#!/bin/sh\nexec sleep 1000\n")
    with Daemon(tmp_path, "--workers", "1", "--command", "./p") as daemon:
        daemon.ready(1)
        (tmp_path / "p").unlink()
        assert daemon.client("upgrade").returncode == 0
        daemon.wait("supervisor.upgraded")
        assert daemon.worker("0.1")["phase"] == "ready"
        assert daemon.terminate() == 0
