"""How a worker knows how old the last beat of a job process is; and that nobody else can make it believe one."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mindbot_worker.jobs import job_beat
from mindbot_worker.jobs.reporter import Outbox
from mindbot_worker.protocol import heartbeat, job_beats
from mindbot_worker.protocol.job_beats import JobBeats
from mindbot_worker.runtime.call_records import CallRecords, StartedCall
from mindbot_worker.runtime.inbox import Inbox


def descriptors() -> set[str]:
    return {fd.name for fd in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def inbox(tmp_path: Path):
    inbox = Inbox(tmp_path, "0.1")
    yield inbox
    inbox.job_beats.close()
    inbox.unlink()


def test_a_stamp_is_read_back_and_a_file_without_one_says_nothing() -> None:
    fd = job_beats.new_file()
    assert job_beats.read(fd) is None
    job_beats.stamp(fd, 12.5)
    job_beats.stamp(fd, 13.25)
    assert job_beats.read(fd) == 13.25
    os.close(fd)


async def test_a_job_is_known_before_its_call_and_beats_while_its_loop_goes_round(inbox: Inbox) -> None:
    assert job_beat.introduce(str(inbox.path))
    inbox.read()
    before = inbox.job_beats.last(os.getpid())
    assert before is not None and time.monotonic() - before < 10
    job_beat.begin(str(inbox.path), 0.02)
    await asyncio.sleep(0.2)
    during = inbox.job_beats.last(os.getpid())
    assert during is not None and during > before
    time.sleep(0.3)  # noqa: ASYNC251 - its loop is blocked
    blocked_for = time.monotonic() - (inbox.job_beats.last(os.getpid()) or 0)
    assert blocked_for >= 0.3


async def test_a_worker_whose_socket_was_full_is_told_as_soon_as_there_is_room(inbox: Inbox) -> None:
    outbox = Outbox(str(inbox.path))
    while outbox.send(b"x"):
        pass
    assert not job_beat.introduce(str(inbox.path))
    job_beat.begin(str(inbox.path), 1.0)
    inbox.read()
    async with asyncio.timeout(10):
        while inbox.job_beats.last(os.getpid()) is None:
            await asyncio.sleep(0.05)
            inbox.read()


def test_the_kernel_says_whose_file_it_is(inbox: Inbox) -> None:
    program = "import sys; from mindbot_worker.jobs import job_beat; assert job_beat.introduce(sys.argv[1])"
    child = subprocess.Popen([sys.executable, "-c", program, str(inbox.path)])
    assert child.wait(60) == 0
    inbox.read()
    assert inbox.job_beats.last(child.pid) is not None
    assert inbox.job_beats.last(os.getpid()) is None


@pytest.mark.parametrize("kind", ["pipe", "file", "directory"])
def test_a_file_that_is_no_beat_is_closed_at_once(inbox: Inbox, tmp_path: Path, kind: str) -> None:
    reader, writer = os.pipe()
    other = os.open(tmp_path if kind == "directory" else __file__, os.O_RDONLY)
    before = descriptors()
    assert Outbox(str(inbox.path)).send(job_beats.HELLO, reader if kind == "pipe" else other)
    outbox_socket_and = descriptors() - before
    inbox.read()
    assert inbox.job_beats.last(os.getpid()) is None
    assert inbox.rejected == 1
    assert len(descriptors() - before) <= len(outbox_socket_and)
    for fd in (reader, writer, other):
        os.close(fd)


def test_descriptors_that_nobody_asked_for_do_not_pile_up(inbox: Inbox) -> None:
    fd = job_beats.new_file()
    outbox = Outbox(str(inbox.path))
    outbox.send(b"hello")
    inbox.read()
    before = descriptors()
    for datagram in (b"", b"garbage", b"warm 1", job_beats.HELLO + b"!"):
        assert outbox.send(datagram, fd)
    assert outbox.send(job_beats.HELLO, fd, fd)  # more than there is room for
    inbox.read()
    inbox.job_beats.close()
    assert descriptors() == before
    os.close(fd)


def test_files_are_bounded_and_go_with_their_processes() -> None:
    before = descriptors()
    kept = JobBeats()
    fd = job_beats.new_file()
    for pid in range(1, 40):
        assert kept.take(pid, os.dup(fd))
    assert kept.take(5, os.dup(fd))
    kept.forget(5)
    kept.forget(5)
    kept.forget(None)
    assert kept.last(5) is None
    kept.close()
    os.close(fd)
    assert descriptors() == before


def test_the_age_counts_from_the_start_of_the_call_and_is_never_negative() -> None:
    calls = CallRecords(100.0)
    calls.opened(StartedCall("r", "j", "agent-j", 7, 1e9), 100.0)
    assert calls.live(110.0)[0].beat_age is None, "nothing is known"
    assert calls.live(110.0, lambda _: 50.0)[0].beat_age == 10.0, "it waited for its call before that"
    assert calls.live(110.0, lambda _: 108.5)[0].beat_age == 1.5
    assert calls.live(110.0, lambda _: 111.0)[0].beat_age == 0.0
    assert calls.live(110.0, lambda pid: 109.0 if pid == 8 else None)[0].beat_age is None


def test_the_age_travels_in_the_calls_entry_and_is_left_out_where_it_is_not_known() -> None:
    told = heartbeat.Beat(
        seq=1, state="ready", calls=(heartbeat.Call("r", "j", beat_age=1.25), heartbeat.Call("s", "k"))
    )
    line = heartbeat.encode(told)
    assert heartbeat.decode(line.strip()) == told
    assert line.count(b"beat_age") == 1


@pytest.mark.parametrize("age", ['"1"', "true", "[]", "1e16"])
def test_an_age_that_is_no_number_is_refused(age: str) -> None:
    with pytest.raises(heartbeat.BadBeat, match="beat_age"):
        heartbeat.decode(
            b'{"v":1,"seq":1,"state":"ready","calls":[{"room":"r","job":"j","beat_age":%s}]}' % age.encode()
        )


def test_the_socket_still_takes_reports_of_anybody(inbox: Inbox) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plain:
        plain.sendto(b"garbage", str(inbox.path))
    inbox.read()
    assert inbox.rejected == 1
