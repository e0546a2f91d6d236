"""Files that are no files, and file systems that do not answer: refused in time, and the pool goes on meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from functional.daemon import DEADLINE, Daemon, stub
from functional.test_bad_input import assert_one_plain_line, run

SLOW = """
import os, time
really = os.open
def open(path, *more, **others):
    if str(path).endswith(".slow") and os.path.exists(str(path) + ".hangs"):
        time.sleep(3600)
    return really(path, *more, **others)
os.open = open
"""
"""A sitecustomize.py with which files of that name hang, as on a server that is gone, while there is such a mark."""


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


PLACES: dict[str, tuple[list[str], dict[str, str]]] = {
    "--config": (["--config", "f"], {}),
    "MINDBOT_CONFIG": ([], {"MINDBOT_CONFIG": "f"}),
    "--env-file": (["--env-file", "f"], {}),
    "MINDBOT_ENV__FILE": ([], {"MINDBOT_ENV__FILE": "f"}),
}
KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "fifo": (make_fifo, "named pipe"),
    "zero": (make_zero, "device"),
    "socket": (make_socket, "socket"),
    "directory": (Path.mkdir, "directory"),
    "huge": (make_huge, "larger than"),
    "missing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        *(("--config", kind) for kind in KINDS),
        ("--env-file", "zero"),
        *((place, "fifo") for place in PLACES if place != "--config"),
    ],
)
def test_at_the_start_it_is_one_plain_line(tmp_path, place, kind):
    arguments, environ = PLACES[place]
    make, word = KINDS[kind]
    make(tmp_path / "f")
    done = run(tmp_path, "run", *arguments, *stub(), environ=environ)
    assert_one_plain_line(done, 78, "f: cannot be read", word)


@pytest.mark.parametrize("command", [["config", "check"], ["config", "show"], ["run"]])
def test_the_file_that_is_looked_for_is_no_other_case(tmp_path, command):
    make_fifo(tmp_path / "mindbot.toml")
    assert_one_plain_line(run(tmp_path, *command), 78, "mindbot.toml: cannot be read", "named pipe")


@pytest.mark.parametrize("command", [["status"], ["explain", "0"], ["reload"]])
def test_a_command_that_looks_for_the_daemon_does_not_hang_on_it_either(tmp_path, command):
    make_fifo(tmp_path / "mindbot.toml")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MINDBOT_")}
    program = [sys.executable, "-m", "mindbot_supervisor", *command]
    done = subprocess.run(
        program, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert_one_plain_line(done, 78, "mindbot.toml: cannot be read", "named pipe")


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_a_systemd_credential_that_is_no_file(tmp_path, kind):
    (tmp_path / "creds").mkdir()
    KINDS[kind][0](tmp_path / "creds" / "OPENAI_API_KEY")
    done = run(tmp_path, "run", *stub(), environ={"CREDENTIALS_DIRECTORY": str(tmp_path / "creds")})
    assert_one_plain_line(done, 78, "systemd credential OPENAI_API_KEY: cannot be read", KINDS[kind][1])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "f").write_text("A=1")
    (tmp_path / "f").chmod(0)
    assert_one_plain_line(run(tmp_path, "run", "--env-file", "f", *stub()), 78, "env file f", "Permission denied")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("env", "fifo"), ("env", "zero"), ("env", "directory"), ("env", "huge"), ("mindbot.toml", "fifo")],
)
def test_at_a_reload_it_is_refused_and_the_old_stays_in_force(tmp_path, name, kind):
    (tmp_path / "env").write_text("GREETING=one\n")
    (tmp_path / "mindbot.toml").write_text('[env]\nfile = "env"\n')
    with Daemon(tmp_path, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        (tmp_path / name).unlink()
        KINDS[kind][0](tmp_path / name)
        refused = daemon.client("reload")
        assert_one_plain_line(refused, 1, f"{name}: cannot be read", KINDS[kind][1], "old settings stay in force")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait("config.rejected", after=daemon.records.index(daemon.wait("config.rejected")) + 1)
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("worker.ready", worker="0.2")
        assert b"GREETING=one" in Path(f"/proc/{daemon.worker('0.2')['pid']}/environ").read_bytes()
        assert daemon.terminate() == 0


def test_a_watched_env_file_that_becomes_a_pipe_is_told_once(tmp_path):
    env = tmp_path / "env"
    env.write_text("GREETING=one\n")
    environ = {"MINDBOT_ENV__WATCH": "true", "MINDBOT_ENV__FILE": str(env)}
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=environ) as daemon:
        daemon.ready(1)
        daemon.until(lambda: daemon.status()["supervisor"]["uptime"] > 2)
        make_fifo(fifo := tmp_path / "fifo")
        fifo.replace(env)
        daemon.wait("config.rejected")
        then = daemon.status()["supervisor"]["uptime"]
        daemon.until(lambda: daemon.status()["supervisor"]["uptime"] > then + 3)
        assert len(daemon.events("config.rejected")) == 1
        assert daemon.terminate() == 0


def test_a_file_system_that_does_not_answer_holds_nothing_up(tmp_path):
    """The daemon answers, replaces a dead worker, refuses the reload in time, and ends, all while the file hangs."""
    (tmp_path / "instead").mkdir()
    (tmp_path / "instead" / "sitecustomize.py").write_text(SLOW)
    env = tmp_path / "env.slow"
    env.write_text("GREETING=one\n")
    environ = {"PYTHONPATH": str(tmp_path / "instead")}
    with Daemon(tmp_path, "--workers", "1", "--env-file", str(env), *stub(), environ=environ) as daemon:
        daemon.ready(1)
        env.write_text("GREETING=two\n")
        (hangs := tmp_path / "env.slow.hangs").touch()
        reload = subprocess.Popen(
            [sys.executable, "-m", "mindbot_supervisor", "reload", "--socket", str(daemon.socket)],
            stderr=subprocess.PIPE,
            text=True,
        )
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("worker.ready", worker="0.2")
        _, said = reload.communicate(timeout=DEADLINE)
        assert reload.returncode == 1
        assert "env.slow: cannot be read: no answer within" in said
        assert b"GREETING=one" in Path(f"/proc/{daemon.worker('0.2')['pid']}/environ").read_bytes()

        hangs.unlink()
        assert daemon.client("reload").returncode == 0, "once the server is back, so are the files"
        daemon.until(lambda: (row := daemon.worker("0.3")) and row["phase"] == "ready")
        assert b"GREETING=two" in Path(f"/proc/{daemon.worker('0.3')['pid']}/environ").read_bytes()

        hangs.touch()
        daemon.process.send_signal(signal.SIGHUP)
        begun = time.monotonic()
        assert daemon.terminate() == 0
        assert time.monotonic() - begun < DEADLINE
        assert daemon.left_behind() == []


def test_at_the_start_a_file_system_that_does_not_answer_is_one_plain_line(tmp_path):
    (tmp_path / "instead").mkdir()
    (tmp_path / "instead" / "sitecustomize.py").write_text(SLOW)
    (tmp_path / "f.slow").write_text("")
    (tmp_path / "f.slow.hangs").touch()
    environ = {"PYTHONPATH": str(tmp_path / "instead")}
    for arguments in (["--config", "f.slow"], ["--env-file", "f.slow"]):
        done = run(tmp_path, "run", *arguments, *stub(), environ=environ)
        assert_one_plain_line(done, 78, "f.slow: cannot be read: no answer within")


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_in_the_place_of_a_pid_file_holds_nothing_up(tmp_path, kind):
    folder = tmp_path / "s.run" / "workers"
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    KINDS[kind][0](folder / "0.7.json")
    (folder / "1.7.json").write_text(json.dumps({"slot": 1, "generation": 7, "pid": 2**22, "started": 1}))
    with Daemon(tmp_path, "--workers", "2", *stub()) as daemon:
        daemon.wait("worker.ready", slot=0)
        daemon.wait("worker.ready", worker="1.8")
        assert daemon.terminate() == 0


def test_a_pipe_in_the_place_of_the_next_pid_file_holds_nothing_up(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        make_fifo(daemon.runtime_dir / "workers" / "0.2.json")
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.terminate() == 0


@pytest.mark.parametrize("kind", ["fifo", "zero", "socket"])
def test_what_lies_in_the_place_of_the_journal_is_told_by_explain(tmp_path, kind):
    folder = tmp_path / "state" / "flight"
    folder.mkdir(parents=True)
    KINDS[kind][0](folder / "flight.jsonl")
    done = run(tmp_path, "explain", "0")
    assert_one_plain_line(done, 69, "no daemon", "cannot be read", KINDS[kind][1])
