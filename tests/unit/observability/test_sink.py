"""The log goes on, whatever becomes of its file and its readers, and nothing else is touched."""

import errno
import fcntl
import os
import resource
import subprocess
import threading
import time

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.monitoring.activities import Activity
from mindbot_supervisor.observability.logging import log_sink as sinks
from mindbot_supervisor.observability.logging.log_file import LogFile
from mindbot_supervisor.observability.logging.log_sink import FAILED, KEPT, LOST, OUTPUT_KEPT, Sink, Stream, Writer

DEADLINE = 30.0


def until(fact):
    end = time.monotonic() + DEADLINE
    while not (found := fact()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


class Told(list):
    def __call__(self, kind, text, lost):
        self.append((kind, text, lost))

    def kinds(self):
        return [kind for kind, _, _ in self]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(sinks, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(sinks, "RETRY_MAX", 0.05)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "log").mkdir()
    return tmp_path / "log" / "x.log"


@pytest.fixture
def sink(path):
    made = Sink(None, path)
    made.tell = Told()
    yield made
    made.close()


def written(sink, path, line):
    sink.put(line)
    until(lambda: path.is_file() and line in path.read_bytes())


def test_a_folder_that_was_removed_is_made_again_and_no_line_is_lost(sink, path):
    written(sink, path, b"one\n")
    path.unlink()
    path.parent.rmdir()
    written(sink, path, b"two\n")
    assert path.read_bytes() == b"two\n" and sink.dropped == 0 and not sink.tell


def test_a_file_that_was_renamed_is_followed_by_a_new_one(sink, path):
    written(sink, path, b"one\n")
    path.rename(path.with_suffix(".1"))
    written(sink, path, b"two\n")
    assert (path.with_suffix(".1").read_bytes(), path.read_bytes()) == (b"one\n", b"two\n")


@pytest.mark.parametrize("what", ["directory", "fifo", "fifo with a reader", "link", "link to nothing", "socket"])
def test_what_is_in_its_place_is_left_alone_and_told_once_and_every_line_comes_later(sink, path, what):
    written(sink, path, b"one\n")
    path.unlink()
    other = path.parent / "other"
    reader = None
    if what == "directory":
        path.mkdir()
    elif what.startswith("fifo"):
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if "reader" in what else None
    elif what == "socket":
        import socket

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.close()
    else:
        if what == "link":
            other.write_bytes(b"not ours")
        path.symlink_to(other)
    for number in range(50):
        sink.put(b"line %d\n" % number)
    until(lambda: sink.tell)
    if reader is not None:
        assert os.read(reader, 1) == b""
        os.close(reader)
    assert what != "link" or other.read_bytes() == b"not ours"
    assert what != "link to nothing" or not other.exists()
    health = until(lambda: [each for each in sink.health() if each.problem])[0]
    assert health.waiting and not health.ok
    path.rmdir() if what == "directory" else path.unlink()
    written(sink, path, b"last\n")
    assert path.read_bytes() == b"".join(b"line %d\n" % number for number in range(50)) + b"last\n"
    assert sink.tell.kinds() == [FAILED] and str(path) in sink.tell[0][1]
    assert until(lambda: sink.health()[0].ok)


def test_without_a_free_descriptor_a_rotated_file_is_used_until_there_is_one(sink, path):
    """EMFILE: the old file is there still, so nothing need be lost."""
    written(sink, path, b"one\n")
    path.rename(path.with_suffix(".1"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        sink.put(b"two\n")
        until(lambda: not sink.health()[0].waiting)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    written(sink, path, b"three\n")
    assert path.with_suffix(".1").read_bytes() == b"one\ntwo\n"


def test_no_descriptor_of_anybody_else_is_closed_however_often_it_fails(sink, path):
    """The fault: a number closed on every write, which by then was a worker's pipe."""
    written(sink, path, b"one\n")
    path.unlink()
    path.mkdir()
    pipes = []
    for _ in range(20):
        sink.put(b"lost?\n")
        pipes += os.pipe()
        time.sleep(0.01)
    for fd in pipes:
        os.fstat(fd)
        os.close(fd)
    path.rmdir()


def test_lines_beyond_what_may_wait_are_counted_and_told_once(sink, path, monkeypatch):
    written(sink, path, b"one\n")
    path.unlink()
    path.mkdir()
    until(lambda: sink.put(b"x\n") or sink.tell)
    for _ in range(KEPT + 1000):
        sink.put(b"x\n")
    lost = sink.dropped
    assert lost >= 1000
    path.rmdir()
    until(lambda: LOST in sink.tell.kinds())
    assert [number for kind, _, number in sink.tell if kind == LOST] == [lost]


class Full:
    """A disk that takes a few bytes and then no more, until there is room."""

    def __init__(self):
        self.taken, self.room = b"", 0

    def prepare(self):
        return False

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = min(self.room, len(data))
        self.taken, self.room = self.taken + data[:count], self.room - count
        return count

    def close(self):
        pass


def test_a_full_disk_tears_no_line_and_loses_none():
    told, disk = Told(), Full()
    disk.room = 7
    writer = Writer("disk", disk, told)
    for number in range(10):
        writer.put(b"line %d\n" % number, droppable=False)
    until(lambda: told)
    disk.room = 1000
    until(lambda: not writer.health().waiting)
    assert disk.taken == b"".join(b"line %d\n" % number for number in range(10))
    assert told.kinds() == [FAILED] and "No space left" in told[0][1]
    writer.close(5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_real_full_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        sink = Sink(None, folder / "x.log")
        sink.tell = Told()
        filler = folder / "filler"
        filler.write_bytes(b"x" * 48 * 1024)
        lines = [b"%05d " % number + b"y" * 93 + b"\n" for number in range(1000)]
        for line in lines:
            sink.put(line)
        until(lambda: sink.tell)
        assert "No space left" in sink.tell[0][1]
        sizes = (folder / "x.log").stat().st_size
        assert sizes <= 16 * 1024
        filler.unlink()
        until(lambda: (folder / "x.log").stat().st_size > sizes)
        sink.close()
        whole = (folder / "x.log").read_bytes()
        assert whole == b"".join(lines)[: len(whole)]
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_torn_line_does_not_go_on_in_another_file(path):
    class Moved(Full):
        moved = False

        def prepare(self):
            moved, self.moved = self.moved, False
            if moved:
                self.taken = b""
            return moved

    told, disk = Told(), Moved()
    disk.room = 3
    writer = Writer("disk", disk, told)
    writer.put(b"begun\n", droppable=False)
    until(lambda: told)
    writer.put(b"next\n", droppable=False)
    disk.moved, disk.room = True, 100
    until(lambda: not writer.health().waiting)
    assert disk.taken == b"next\n" and writer.lost == 1
    writer.close(5)


def test_a_target_that_fails_in_an_unknown_way_does_not_end_its_thread():
    class Odd(Full):
        calls = 0

        def write(self, data):
            self.calls += 1
            if self.calls < 3:
                raise ValueError("odd")
            self.taken += data
            return len(data)

    told, odd = Told(), Odd()
    writer = Writer("odd", odd, told)
    writer.put(b"line\n", droppable=False)
    until(lambda: odd.taken == b"line\n")
    assert told.kinds() == [FAILED] and "ValueError: odd" in told[0][1]
    writer.close(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_all_the_same_is_seen_and_started_again():
    class Deadly(Full):
        def prepare(self):
            if not self.room:
                raise SystemExit
            return False

    deadly = Deadly()
    writer = Writer("deadly", deadly, Told())
    assert writer.health().alive and not writer.revive()
    writer.put(b"lost with the thread\n", droppable=False)
    until(lambda: not writer.health().alive)
    deadly.room = 100
    assert writer.revive()
    writer.put(b"line\n", droppable=False)
    until(lambda: deadly.taken.endswith(b"line\n"))
    writer.close(5)


def test_a_stream_that_somebody_made_non_blocking_is_waited_for():
    reader, fd = os.pipe()
    os.set_blocking(fd, False)
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
    sink = Sink(fd)
    for _ in range(100):
        sink.put(b"x" * 999 + b"\n")
    taken = b""
    while len(taken) < 100_000:
        taken += os.read(reader, 65536)
    assert taken == (b"x" * 999 + b"\n") * 100
    sink.close()
    os.close(reader)
    os.close(fd)


def test_a_reader_that_left_costs_its_own_lines_only(path):
    reader, fd = os.pipe()
    os.close(reader)
    sink = Sink(fd, path)
    sink.tell = Told()
    for number in range(10):
        sink.put(b"%d\n" % number)
    until(lambda: path.read_bytes().count(b"\n") == 10 and sink.tell)
    assert "standard output" in sink.tell[0][1]
    sink.close()
    os.close(fd)


def test_a_reader_that_does_not_read_delays_no_file(path):
    reader, fd = os.pipe()
    sink = Sink(fd, path)
    for _ in range(3000):
        sink.put(b"x" * 99 + b"\n")
    until(lambda: path.stat().st_size == 300_000)
    stalled = next(each for each in sink.health() if each.target == "standard output")
    assert stalled.waiting and stalled.alive
    os.close(reader)
    sink.close()
    os.close(fd)


def test_what_waits_is_bounded_in_bytes_too():
    reader, fd = os.pipe()
    sink = Sink(fd)
    for _ in range(2000):
        sink.put(b"x" * 16_000 + b"\n", droppable=True)
    assert sink.dropped > 2000 - sinks.OUTPUT_KEPT_BYTES // 16_000 - 20
    os.close(reader)
    sink.close()
    os.close(fd)


def test_workers_output_is_dropped_before_lifecycle_events_are():
    reader, fd = os.pipe()
    sink = Sink(fd)
    for _ in range(OUTPUT_KEPT * 3):
        sink.put(b"x" * 50 + b"\n", droppable=True)
    dropped = sink.dropped
    sink.put(b"important\n")
    assert dropped > 0 and sink.dropped == dropped
    os.close(reader)
    sink.close()
    os.close(fd)


@pytest.mark.parametrize("what", ["missing folder", "directory", "link", "fifo"])
def test_at_the_start_a_file_that_cannot_be_is_refused(tmp_path, what):
    path = tmp_path / "x.log"
    if what == "missing folder":
        path = tmp_path / "no" / "x.log"
    elif what == "directory":
        path.mkdir()
    elif what == "link":
        path.symlink_to(tmp_path / "other")
    else:
        os.mkfifo(path)
    before = threading.active_count()
    with pytest.raises(OSError) as caught:
        Sink(None, path)
    assert str(path) in str(caught.value) and threading.active_count() == before
    assert not (tmp_path / "no").exists() and not (tmp_path / "other").exists()


def test_the_end_waits_for_what_is_queued(path):
    sink = Sink(None, path)
    for number in range(1000):
        sink.put(b"%d\n" % number)
    sink.close()
    assert path.read_bytes().count(b"\n") == 1000


def test_a_log_file_is_appended_to_and_belongs_to_one_object(path):
    path.write_bytes(b"before\n")
    file = LogFile(path)
    assert not file.prepare() and file.write(b"after\n") == 6
    file.close()
    file.close()
    assert path.read_bytes() == b"before\nafter\n" and path.stat().st_mode & 0o777 in (0o640, 0o644)
    with pytest.raises(FileNotFoundError):
        file.write(b"x")


def test_a_stream_is_not_closed_with_its_sink():
    reader, fd = os.pipe()
    Stream(fd).close()
    os.write(fd, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(fd)


class Ending:
    """A target whose thread ends while it `ends`."""

    ends = False

    def prepare(self):
        if self.ends:
            raise SystemExit
        return False

    def write(self, data):
        return len(data)

    def close(self):
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_is_told_as_a_failure_of_the_daemons_and_started_again(sink):
    told = []
    activity = Activity("log writer", lambda event, level, fields: told.append((event, level, fields)), essential=True)
    activity.attempt(sink.revive)
    ending = Ending()
    ending.ends = True
    writer = Writer("x.log", ending, Told())
    sink._writers.append(writer)
    sink.put(b"line\n")
    until(lambda: not writer.health().alive)
    ending.ends = False
    activity.attempt(sink.revive)
    assert writer.health().alive
    assert [(event, level) for event, level, _ in told] == [(log_events.ACTIVITY_FAILED, "error")]
    assert "x.log" in told[0][2]["error"] and activity.health().essential
    activity.attempt(sink.revive, pause=False)
    assert told[-1][0] == log_events.ACTIVITY_RECOVERED and activity.health() is None


def test_where_no_thread_can_be_started_the_log_waits_for_one(path, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        sink = Sink(None, path)
        sink.put(b"kept\n")
        with pytest.raises(RuntimeError):
            sink.revive()
        assert not sink.health()[0].alive
    with pytest.raises(RuntimeError, match="started again"):
        sink.revive()
    until(lambda: path.is_file() and path.read_bytes() == b"kept\n")
    sink.close()


def test_what_is_wrong_with_a_target_is_said_in_one_line(sink, path, monkeypatch):
    assert sink.problem() is None
    path.unlink()
    path.mkdir()
    sink.put(b"line\n")
    until(lambda: sink.problem() == f"cannot write to {path}: Is a directory")
    path.rmdir()
    until(lambda: sink.problem() is None)
    reader, fd = os.pipe()
    monkeypatch.setattr(sinks, "STALLED_AFTER", 0.1)
    stuck = Sink(fd)
    stuck.put(b"x" * 200_000 + b"\n")
    told = until(stuck.problem)
    assert told.startswith("standard output has taken nothing for ")
    os.close(reader)
    stuck.close()
    os.close(fd)


def test_after_an_upgrade_a_file_that_cannot_be_opened_ends_nothing(tmp_path):
    sink = Sink(None, tmp_path / "x.log", later=True)
    (tmp_path / "x.log").mkdir()
    sink.put(b"line\n")
    until(sink.problem)
    (tmp_path / "x.log").rmdir()
    until(lambda: (tmp_path / "x.log").is_file() and (tmp_path / "x.log").read_bytes() == b"line\n")
    sink.close()
