"""The runtime directory and the name beside it: made again, kept fresh, and never shared by two daemons."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.daemon.runtime_files.runtime_directory import FRESH, RuntimeDirectory
from mindbot_supervisor.daemon.runtime_files.single_instance import SingleInstance, address_of
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.processes.leftover_workers import WorkerRecords

OLD = 1_000_000_000.0
"""Seconds since 1970, long ago."""


@pytest.fixture
def claimed(tmp_path: Path) -> Iterator[RuntimeDirectory]:
    made = RuntimeDirectory.claim(tmp_path / "a" / "run")
    made.restore(0.0)
    yield made
    made.close()


def test_nothing_is_made_while_all_is_there(claimed):
    assert claimed.restore(1.0) == claimed.restore(2.0) == []


def test_what_is_removed_is_made_again_and_locked(claimed):
    (claimed.path / "lock").unlink()
    assert claimed.restore(1.0) == ["lock"]
    (claimed.path / "lock").unlink()
    claimed.path.rmdir()
    assert claimed.restore(2.0) == [str(claimed.path), "lock"]
    assert claimed.restore(3.0) == []
    with (claimed.path / "lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_directory_that_is_no_longer_safe_is_told_and_taken_back_once_it_is(claimed):
    claimed.path.chmod(0o777)
    (claimed.path / "lock").unlink()
    claimed.path.rmdir()
    claimed.path.mkdir()
    claimed.path.chmod(0o777)
    for _ in range(2):
        with pytest.raises(Refused, match="written by others"):
            claimed.restore(1.0)
    claimed.path.chmod(0o700)
    assert claimed.restore(2.0) == [str(claimed.path), "lock"]


def test_its_descriptors_do_not_grow(claimed):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for now in range(20):
        (claimed.path / "lock").unlink()
        claimed.path.rmdir()
        claimed.restore(float(now))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_files_stay_fresh_for_programs_that_sweep_old_ones(claimed):
    files = WorkerRecords(claimed.path)
    files.write(Ref(0, 1), os.getpid())
    files.restore(0.0)
    paths = [claimed.path, claimed.path / "lock", claimed.path / "workers", claimed.path / "workers" / "0.1.json"]
    for each in paths:
        os.utime(each, (OLD, OLD))
    claimed.restore(FRESH - 1), files.restore(FRESH - 1)
    assert all(each.stat().st_mtime == OLD for each in paths[1:])
    claimed.restore(FRESH), files.restore(FRESH)
    assert all(each.stat().st_mtime > OLD and each.stat().st_atime > OLD for each in paths)


def test_the_directory_is_locked_as_systemd_tmpfiles_wants_it(claimed):
    fd = os.open(claimed.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


@pytest.mark.parametrize("what", ["file", "folder", "everything"])
def test_worker_files_that_somebody_removes_are_written_again(tmp_path, what):
    folder = tmp_path / "run"
    folder.mkdir()
    files = WorkerRecords(folder)
    files.write(Ref(0, 1), os.getpid())
    files.write(Ref(1, 1), os.getpid())
    assert files.restore(0.0) == []
    for each in (folder / "workers").iterdir():
        each.unlink()
    if what != "file":
        (folder / "workers").rmdir()
    if what == "everything":
        folder.rmdir()
        assert files.restore(1.0) == files.restore(2.0) == [], "the directory is not theirs to make"
        folder.mkdir()
    assert files.restore(3.0) == ["workers/0.1.json", "workers/1.1.json"]
    assert files.restore(4.0) == []
    files.remove(Ref(0, 1))
    assert files.restore(5.0) == [] and not (folder / "workers" / "0.1.json").exists()


# -- the name ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def one(tmp_path: Path) -> Iterator[SingleInstance]:
    made = SingleInstance(tmp_path / "run")
    made.hold_name()
    yield made
    made.close()


def test_a_second_holder_is_refused_with_the_pid_of_the_first(tmp_path, one):
    with pytest.raises(Refused, match=f"already running in {tmp_path}/run .pid {os.getpid()}."):
        SingleInstance(tmp_path / "run").hold_name()


def test_the_name_goes_with_its_holder(tmp_path, one):
    one.close()
    other = SingleInstance(tmp_path / "run")
    other.hold_name()
    assert len(other.fds) == 1
    other.close()


def test_directories_of_one_name_in_two_places_are_two(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    uid = os.geteuid()
    assert address_of(tmp_path / "a" / "run", uid) != address_of(tmp_path / "b" / "run", uid)
    assert address_of(tmp_path / "a" / "run", uid) != address_of(tmp_path / "a" / "run", uid + 1)
    assert address_of(tmp_path / "none" / "run", uid) is None


def test_a_folder_that_is_made_anew_has_a_name_of_its_own_and_the_first_is_kept_for_a_while(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    made = SingleInstance(folder / "run")
    made.hold_name()
    spare = []
    for n in range(6):
        folder.rename(tmp_path / f"old-{n}")  # keeps its inode from being given out again
        folder.mkdir()
        made.hold_name()
        spare.append(len(made.fds))
    assert spare == [2, 3, 4, 4, 4, 4]
    with pytest.raises(Refused):
        SingleInstance(folder / "run").hold_name()
    made.close()


def test_a_holder_whose_queue_is_full_is_found_all_the_same(tmp_path, one, monkeypatch):
    address = address_of(tmp_path / "run", os.geteuid())
    waiting = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        waiting.append(client)
        if client.connect_ex(address):
            break
    with pytest.raises(Refused, match=f"pid {os.getpid()}"):
        SingleInstance(tmp_path / "run").hold_name(0.2)
    for client in waiting:
        client.close()


TAKE = """
import os, socket, sys
os.setuid(65534)
held = socket.socket(socket.AF_UNIX)
held.bind(chr(0) + sys.argv[1])
held.listen(int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("full", [False, True])
def test_another_user_who_has_taken_the_name_stops_nobody(tmp_path, full):
    address = address_of(tmp_path / "run", os.geteuid())
    command = [sys.executable, "-c", TAKE, address[1:], "0" if full else "8"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as taker:
        assert taker.stdout.readline() == "held\n"
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4 if full else 0)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        made = SingleInstance(tmp_path / "run")
        made.hold_name(0.2)
        assert made.fds == []
        for client in waiting:
            client.close()
        taker.stdin.close()
        taker.wait(10)
        made.hold_name()
        assert len(made.fds) == 1
        made.close()
