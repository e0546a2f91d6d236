"""What the next daemon has to know of the workers: written, read back, and believed only of the very same processes."""

import json
import os
import subprocess

import psutil
import pytest

from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring import process_table
from mindbot_supervisor.processes import leftover_workers
from mindbot_supervisor.processes.leftover_workers import WorkerRecords

A = Ref(0, 1)


@pytest.fixture
def child():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def recorded(folder, **changes):
    path = folder / "workers" / "0.1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_written_is_read_back_with_what_belongs_to_it(tmp_path, child):
    files = WorkerRecords(tmp_path)
    files.write(A, child.pid, members=[(7, 1.25), (5, 2.0)])
    files.write(A, child.pid, termed=True, members=[(7, 1.25)])
    (found,), names = WorkerRecords(tmp_path).leftovers()
    assert (found.ref, found.pid, found.termed, found.members) == (A, child.pid, True, ((7, 1.25),))
    assert found.started == process_table.started_at(psutil.Process(child.pid))
    assert names == [A]
    assert files.members(A) == ((7, 1.25),)
    files.remove(A)
    assert files.members(A) == ()


@pytest.mark.parametrize(
    "change",
    [{"started": 1.0}, {"boot": "of another time"}, {"boot": ""}, {"pid": 2**22 + 1}],
    ids=["started", "boot", "no boot", "pid"],
)
def test_another_process_is_never_taken_for_the_worker_and_the_name_stays_used(tmp_path, child, change):
    files = WorkerRecords(tmp_path)
    files.write(A, child.pid)
    recorded(tmp_path, **change)
    assert files.leftovers() == ([], [A])
    assert not (tmp_path / "workers" / "0.1.json").exists()


def test_a_process_that_leads_no_session_of_its_own_is_no_worker(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as process:
        files = WorkerRecords(tmp_path)
        files.write(A, process.pid)
        assert files.leftovers() == ([], [A])
        process.kill()


def test_whatever_else_is_in_the_folder_holds_nobody_up(tmp_path, monkeypatch):
    folder = tmp_path / "workers"
    folder.mkdir()
    os.mkfifo(folder / "0.1.json")
    (folder / "0.2.json").symlink_to("/dev/zero")
    (folder / "0.3.json").mkdir()
    (folder / "0.4.json").write_text("[" * 3000)
    (folder / "0.5.json").write_text('{"slot": 0, "generation": 5, "pid": 9, "started": 1, "members": [[1]]}')
    (folder / "0.6.json").write_text('{"slot": -1, "generation": 5, "pid": 9, "started": 1}')
    monkeypatch.setattr(leftover_workers, "SIZE_MAX", 4096)
    (folder / "0.7.json").write_text(" " * 5000 + "{}")
    assert WorkerRecords(tmp_path).leftovers() == ([], [])
