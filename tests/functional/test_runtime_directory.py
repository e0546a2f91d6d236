"""The runtime directory is swept while the daemon runs: what it needs is made again, and no second pool ever starts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
from pathlib import Path

import pytest

from functional.daemon import DEADLINE, Daemon, stub
from functional.test_bad_input import assert_one_plain_line, run

NEEDED = ("lock", "control.sock", "output.sock", "workers")
WORKER = {"MINDBOT_WORKER__HEARTBEAT": "required"}


def sweep(folder: Path) -> None:
    """rm -rf, while somebody makes it again."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def pool(folder: Path, *words: str, workers: int = 1, **environ: str) -> Daemon:
    return Daemon(folder, "--workers", str(workers), *stub(*words), environ={**WORKER, **environ})


def held_by(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def test_a_control_socket_that_somebody_removes_is_there_again(tmp_path):
    with pool(tmp_path) as daemon:
        daemon.ready(1)
        before = held_by(daemon)
        for _ in range(3):
            daemon.socket.unlink()
            daemon.until(daemon.socket.exists)
            daemon.until(lambda: daemon.worker("0.1"))
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
        record = daemon.wait("runtime.restored")
        assert (record["level"], record["files"]) == ("warning", [str(daemon.socket)])
        daemon.until(lambda: held_by(daemon) <= before)
        assert daemon.client("stop").returncode == 0
        assert daemon.end() == 0
        assert not daemon.socket.exists()


def test_a_runtime_directory_that_somebody_removes_is_there_again_with_all_that_is_in_it(tmp_path):
    control = tmp_path / "run" / "control.sock"
    run_dir = {"MINDBOT_RUNTIME_DIR": str(control.parent)}
    with Daemon(
        tmp_path, "--workers", "2", *stub(), environ={**WORKER, **run_dir}, socket="run/control.sock"
    ) as daemon:
        daemon.ready(2)
        before = held_by(daemon)
        for _ in range(2):
            sweep(control.parent)
            daemon.until(lambda: all((control.parent / name).exists() for name in NEEDED))
            daemon.until(lambda: len(list((control.parent / "workers").glob("*.json"))) == 2)
            daemon.ready(2)
        assert stat.S_IMODE(control.parent.stat().st_mode) == 0o700
        daemon.until(lambda: held_by(daemon) <= before)
        assert (control.parent / "lock").read_text() == f"{daemon.process.pid}\n"
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.end() == 0
        assert not daemon.events("supervisor.bug")


def test_a_second_daemon_finds_the_first_though_nothing_of_its_directory_is_left(tmp_path):
    with pool(tmp_path) as first:
        first.ready(1)
        first.process.send_signal(signal.SIGSTOP)  # it cannot make anything again meanwhile
        try:
            sweep(first.runtime_dir)
            first.socket.unlink()
            assert_one_plain_line(run(tmp_path, "run", *stub()), 1, "already running", f"pid {first.process.pid}")
        finally:
            first.process.send_signal(signal.SIGCONT)
        first.until(lambda: first.worker("0.1"))
        assert first.terminate() == 0


def test_the_name_outlives_an_upgrade(tmp_path):
    with pool(tmp_path) as daemon:
        daemon.ready(1)
        before = held_by(daemon)
        assert daemon.client("upgrade", timeout=90).returncode == 0
        daemon.wait("supervisor.upgraded")
        daemon.until(lambda: daemon.worker("0.1"))
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            sweep(daemon.runtime_dir)
            daemon.socket.unlink()
            assert_one_plain_line(run(tmp_path, "run", *stub()), 1, "already running")
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        daemon.until(lambda: daemon.worker("0.1"))
        daemon.until(lambda: held_by(daemon) <= before + 2)
        assert daemon.terminate() == 0
        assert not daemon.socket.exists()


def test_two_daemons_in_two_directories_do_not_know_each_other(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pool(tmp_path / "a") as one, pool(tmp_path / "b") as other:
        one.ready(1)
        other.ready(1)
        assert one.terminate() == 0
        assert other.worker("0.1")["phase"] == "ready"
        assert other.terminate() == 0


def test_leftovers_are_found_though_their_files_had_been_removed_before_the_crash(tmp_path):
    with pool(tmp_path, "--calls", "1", workers=2) as first:
        first.ready(2)
        files = first.runtime_dir / "workers"
        for each in files.iterdir():
            each.unlink()
        first.until(lambda: len(list(files.iterdir())) == 2)
        pids = {row["worker"]: row["pid"] for row in first.status()["workers"]}
        first.process.kill()
        first.end()
        with pool(tmp_path, workers=2) as second:
            second.ready(2)
            rows = {row["worker"]: row for row in second.status()["workers"]}
            assert {name: rows[name]["pid"] for name in pids} == pids
            assert second.client("stop", "--now").returncode == 0
            assert second.end() == 0
            assert second.left_behind() == []


# -- what is at the socket's path --------------------------------------------------------------------------------------


def a_file(path: Path) -> None:
    path.write_text("precious\n")


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    (path.parent / "target").write_text("precious\n")
    path.symlink_to(path.parent / "target")


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def a_directory(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_text("precious\n")


def a_datagram_socket(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_file, "regular file"),
        (a_fifo, "FIFO"),
        (a_link, "symbolic link"),
        (a_dangling_link, "symbolic link"),
        (a_directory, "directory"),
        (a_datagram_socket, "not a daemon's"),
    ],
)
def test_what_is_no_socket_of_ours_is_never_deleted(tmp_path, make, words):
    path = tmp_path / "s.sock"
    held = make(path)
    before = path.lstat()
    assert_one_plain_line(run(tmp_path, "run", "--http", "off", *stub()), 78, str(path), words)
    after = path.lstat()
    assert (after.st_ino, after.st_size, after.st_mode) == (before.st_ino, before.st_size, before.st_mode)
    if held is not None:
        held.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")
def test_another_users_socket_is_never_deleted(tmp_path):
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    os.chown(path, 65534, 65534)
    assert_one_plain_line(run(tmp_path, "run", "--http", "off", *stub()), 78, "another user")
    assert path.lstat().st_uid == 65534


def test_a_living_daemon_with_a_full_backlog_keeps_its_socket(tmp_path):
    path = tmp_path / "s.sock"
    waiting = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        for _ in range(3):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            client.connect_ex(str(path))
            waiting.append(client)
        before = path.lstat().st_ino
        assert_one_plain_line(run(tmp_path, "run", "--http", "off", *stub()), 1, "already running")
        assert path.lstat().st_ino == before
    for client in waiting:
        client.close()


def test_what_has_taken_the_sockets_name_meanwhile_is_neither_served_nor_removed(tmp_path):
    with pool(tmp_path) as daemon:
        daemon.ready(1)
        daemon.socket.unlink()
        daemon.socket.write_text("precious\n")
        record = daemon.wait("runtime.lost")
        assert "regular file" in record["detail"] and str(daemon.socket) in record["detail"]
        assert daemon.terminate() == 0
        assert daemon.socket.read_text() == "precious\n"
        assert len(daemon.events("runtime.lost")) == 1


@pytest.mark.parametrize(("make", "code", "words"), [(a_fifo, 78, "not a regular file"), (a_directory, 1, "directory")])
def test_a_lock_that_is_none_is_told_in_a_line(tmp_path, make, code, words):
    (tmp_path / "s.run").mkdir(mode=0o700)
    make(tmp_path / "s.run" / "lock")
    assert_one_plain_line(run(tmp_path, "run", "--http", "off", *stub()), code, "s.run/lock", words)


# -- output of leftovers -----------------------------------------------------------------------------------------------


def test_256_idle_guests_keep_no_leftover_from_being_heard(tmp_path):
    """A worker whose daemon died brings its output to the next one, whoever else has connected there."""
    with pool(tmp_path, "--calls", "1") as first:
        first.ready(1)
        first.process.kill()
        first.end()
        with pool(tmp_path) as second:
            second.ready(1)
            before = held_by(second)
            path = str(second.runtime_dir / "output.sock")
            guests = []
            for _ in range(256):
                guest = socket.socket(socket.AF_UNIX)
                guest.settimeout(DEADLINE)
                guest.connect(path)
                guests.append(guest)
            with socket.socket(socket.AF_UNIX) as leftover:
                leftover.settimeout(DEADLINE)
                leftover.connect(path)
                leftover.sendall(json.dumps({"worker": "0.1"}).encode() + b"\nheard among the guests\n")
                second.wait("worker.output", worker="0.1", text="heard among the guests")
                assert held_by(second) <= before + 128 + 8
                second.until(lambda: held_by(second) <= before + 8)  # who says nothing is sent away
                leftover.sendall(b"still heard\n")
                second.wait("worker.output", worker="0.1", text="still heard")
            for guest in guests:
                guest.close()
            assert second.client("stop", "--now").returncode == 0
            assert second.end() == 0
            assert second.left_behind() == []


def test_the_socket_for_output_is_there_again_and_takes_lines(tmp_path):
    with pool(tmp_path, "--calls", "1") as first:
        first.ready(1)
        first.process.kill()
        first.end()
        with pool(tmp_path) as second:
            second.ready(1)
            path = second.runtime_dir / "output.sock"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            path.unlink()
            second.until(path.exists)
            with socket.socket(socket.AF_UNIX) as leftover:
                leftover.connect(str(path))
                leftover.sendall(b'{"worker": "0.1"}\nheard again\n')
                second.wait("worker.output", text="heard again")
            assert second.client("stop", "--now").returncode == 0
            assert second.end() == 0
            assert second.left_behind() == []
