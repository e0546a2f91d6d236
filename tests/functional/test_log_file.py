"""Whatever becomes of the log file, the pool does not notice: dead workers are replaced, and `stop` ends."""

import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import pytest

from functional.daemon import Daemon, stub


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def started(tmp_path, folder, *arguments, **environ):
    return Daemon(
        tmp_path,
        "--workers",
        "4",
        *stub(),
        *arguments,
        environ={"MINDBOT_LOG__FILE": str(folder / "x.log"), **environ},
    )


def kill_all(daemon):
    """Every worker, and wait until each has a successor that is ready."""
    before = {row["worker"]: row["pid"] for row in daemon.status()["workers"]}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    daemon.until(
        lambda: (
            [row["phase"] == "ready" and row["worker"] not in before for row in daemon.status()["workers"]]
            == [True] * 4
        )
    )


def descriptors(daemon):
    found = Path(f"/proc/{daemon.process.pid}/fd").iterdir()
    return sorted(str(fd.readlink()).split(":")[0] for fd in found)


def test_a_removed_folder_is_made_again_while_workers_die(tmp_path, folder):
    with started(tmp_path, folder) as daemon:
        daemon.ready(4)
        before = descriptors(daemon)
        for _ in range(3):
            shutil.rmtree(folder)
            kill_all(daemon)
        daemon.until(lambda: descriptors(daemon) == before)
        daemon.until(lambda: "worker.ready" in (folder / "x.log").read_text())
        assert not daemon.events("log.unwritable") and not daemon.events("log.dropped")
        assert not daemon.events("supervisor.bug") and not daemon.events("slot.parked")
        assert daemon.terminate() == 0
        assert not daemon.left_behind()


@pytest.mark.parametrize("what", ["a directory", "a fifo", "a link"])
def test_what_cannot_be_written_is_said_once_and_nothing_of_it_is_lost(tmp_path, folder, what):
    path, other = folder / "x.log", folder / "other"
    with started(tmp_path, folder) as daemon:
        daemon.ready(4)
        before = len(daemon.records)
        shutil.rmtree(folder)
        folder.mkdir()
        if what == "a directory":
            path.mkdir()
        elif what == "a fifo":
            os.mkfifo(path)
        else:
            path.symlink_to(other)
        kill_all(daemon)
        told = daemon.wait("log.unwritable", after=before)
        assert str(path) in told["detail"] and told["level"] == "error"
        kill_all(daemon)
        assert not other.exists()
        path.rmdir() if what == "a directory" else path.unlink()
        daemon.until(lambda: path.is_file() and path.read_text().count("worker.exited") == 8)
        assert len(daemon.events("log.unwritable")) == 1
        assert daemon.terminate() == 0
        wanted = [record["event"] for record in daemon.records[before:]]
        assert [line.split('"event": "')[1].split('"')[0] for line in path.read_text().splitlines()] == wanted


def test_a_rotated_file_is_followed_also_without_a_free_descriptor(tmp_path, folder):
    path = folder / "x.log"
    with started(tmp_path, folder) as daemon:
        daemon.ready(4)
        soft, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        open_now = len(descriptors(daemon))
        path.rename(folder / "x.log.1")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (open_now, hard))
        daemon.process.send_signal(signal.SIGUSR1)
        daemon.wait("supervisor.status")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        kill_all(daemon)
        daemon.until(lambda: path.is_file() and "worker.exited" in path.read_text())
        assert daemon.terminate() == 0
        whole = (folder / "x.log.1").read_text() + path.read_text()
        assert whole.count("\n") == len(daemon.records)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_costs_no_worker_and_its_lines_come_when_there_is_room(tmp_path, folder):
    import subprocess

    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (folder / "filler").write_bytes(b"x" * 60 * 1024)
        with started(tmp_path, folder) as daemon:
            daemon.ready(4)
            for _ in range(2):
                kill_all(daemon)
            told = daemon.wait("log.unwritable")
            assert "No space left" in told["detail"]
            (folder / "filler").unlink()
            daemon.until(lambda: (folder / "x.log").read_text().count("worker.exited") == 8)
            assert daemon.terminate() == 0
            assert (folder / "x.log").read_text().count("\n") == len(daemon.records)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.parametrize("what", ["no folder", "a directory", "a link"])
def test_at_the_start_a_log_file_that_cannot_be_is_one_plain_line(tmp_path, what):
    path = tmp_path / "log" / "x.log"
    if what != "no folder":
        path.parent.mkdir()
        path.mkdir() if what == "a directory" else path.symlink_to(tmp_path / "other")
    with Daemon(tmp_path, *stub(), environ={"MINDBOT_LOG__FILE": str(path)}) as daemon:
        assert daemon.end() == 78
        (line,) = daemon.errors.splitlines()
        assert line.startswith("mindbot-supervisor: error: log.file ") and str(path) in line
        assert not (tmp_path / "other").exists()


class Unread(Daemon):
    """A daemon whose log nobody reads from its standard output."""

    def _read_log(self):
        self._new.put(None)


def test_with_standard_output_closed_by_its_reader_the_file_has_everything(tmp_path, folder):
    path = folder / "x.log"
    environ = {"MINDBOT_LOG__FILE": str(path)}
    with Unread(tmp_path, "--workers", "4", *stub(), environ=environ) as daemon:
        daemon.ready(4)
        daemon.process.stdout.close()
        kill_all(daemon)
        daemon.until(lambda: path.read_text().count("worker.exited") == 4)
        daemon.until(lambda: "log.unwritable" in path.read_text())
        assert daemon.terminate() == 0
        assert "supervisor.stopped" in path.read_text()


def test_a_reader_that_does_not_read_delays_neither_pool_nor_file(tmp_path, folder):
    path = folder / "x.log"
    environ = {"MINDBOT_LOG__FILE": str(path), "MINDBOT_LOG__LEVEL": "debug"}
    command = f"{sys.executable} -c 'while True: print(1000 * str(1), flush=True)'"
    with Unread(tmp_path, "--workers", "4", "--command", command, environ=environ) as daemon:
        daemon.until(lambda: path.exists() and path.stat().st_size > 1024 * 1024)
        daemon.ready(4)
        kill_all(daemon)
        daemon.until(lambda: path.read_text().count("worker.exited") == 4)
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.process.wait(30) == 0
        assert "supervisor.stopped" in path.read_text()


def test_without_structlog_there_is_no_log_and_no_daemon(tmp_path):
    """It is what makes the log: something else in its place, and logging fails."""
    (tmp_path / "structlog.py").write_text("raise RuntimeError('this is not structlog')\n")
    environ = {"PYTHONPATH": str(tmp_path)}
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=environ) as daemon:
        assert daemon.end() == 70
        assert "this is not structlog" in daemon.errors and not daemon.records
        assert not daemon.left_behind()
