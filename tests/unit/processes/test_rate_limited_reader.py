"""Reading a pipe: everything in order, others have their turn, and a flood only as fast as it may cost."""

import asyncio
import contextlib
import os
import threading
import time

import pytest

from mindbot_config.host.descriptors import Descriptor, close_all
from mindbot_supervisor.processes.pipes import rate_limited_reader
from mindbot_supervisor.processes.pipes.heartbeat_rate_limit import LINES, LINES_BURST
from mindbot_supervisor.processes.pipes.rate_limited_reader import BURST, RATE, RateLimitedReader
from mindbot_supervisor.processes.pipes.worker_output import Output
from mindbot_supervisor.processes.pipes.worker_pipes import BatchedReader, RunningWorker

DEADLINE = 30.0


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


async def until(fact):
    end = time.monotonic() + DEADLINE
    while not fact():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def writing(fd, data):
    own = os.dup(fd)

    def write():
        view = memoryview(data)
        with contextlib.suppress(OSError):
            while view:
                view = view[os.write(own, view) :]
        os.close(own)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


async def test_everything_comes_in_order_however_little_is_taken_at_once(pipe):
    taken, ended = bytearray(), asyncio.Event()

    def take(data):
        taken.extend(data[:1000])
        return min(len(data), 1000)

    reader = RateLimitedReader(Descriptor(pipe[0]), take, ended.set)
    reader.start()
    data = os.urandom(200_000)
    thread = writing(pipe[1], data)
    await until(lambda: len(taken) == len(data))
    thread.join(DEADLINE)
    os.close(pipe[1])
    await asyncio.wait_for(ended.wait(), DEADLINE)
    assert bytes(taken) == data


async def test_others_have_their_turn_between_two_pieces(pipe):
    turns = []
    reader = RateLimitedReader(Descriptor(pipe[0]), lambda data: turns.append("pipe") or 1)

    async def other():
        while turns.count("pipe") < 20:
            turns.append("other")
            await asyncio.sleep(0)

    os.write(pipe[1], b"x" * 20)
    reader.start()
    await other()
    reader.stop()
    assert turns.count("other") > 10


async def test_a_flood_is_read_no_faster_than_allowed_and_never_left_alone(pipe, monkeypatch):
    monkeypatch.setattr(rate_limited_reader, "RATE", RATE / 2)
    times, taken = [], 0

    def take(data):
        nonlocal taken
        taken += len(data)
        times.append(time.monotonic())
        return len(data)

    reader = RateLimitedReader(Descriptor(pipe[0]), take)
    reader.start()
    began = time.monotonic()
    writing(pipe[1], b"y\n" * 8 * 1024 * 1024)
    await until(lambda: time.monotonic() - began > 1.5)
    spent = time.monotonic() - began
    reader.stop()
    assert taken <= BURST + spent * RATE / 2 + 64 * 1024
    assert taken > BURST
    os.close(pipe[0])


async def test_after_stop_nothing_is_given_and_what_is_left_can_be_had(pipe):
    given = []
    reader = RateLimitedReader(Descriptor(pipe[0]), lambda data: given.append(data) or 1)
    os.write(pipe[1], b"abcdef")
    reader.start()
    await until(lambda: given)
    reader.stop()
    os.write(pipe[1], b"ghi")
    count = len(given)
    rest = reader.drain()
    await asyncio.sleep(0.05)
    assert len(given) == count and b"abcdefghi".endswith(rest) and len(rest) == 9 - count
    assert reader.drain() == b""


class Child:
    def __init__(self):
        beats, self.beat_end = os.pipe()
        output, self.out_end = os.pipe()
        for fd in (beats, output):
            os.set_blocking(fd, False)
        self.beats, self.output, self.pidfd = map(Descriptor, (beats, output, os.pidfd_open(os.getpid())))

    def close(self):
        close_all(self.beats, self.output, self.pidfd)


@pytest.fixture
async def running():
    child, written, lines, dropped = Child(), [], [], []
    output = Output(lambda *record: written.append(record))
    batches = BatchedReader()
    made = RunningWorker(
        child, output, batches, lambda line, _: lines.append(line), lambda count, _: dropped.append(count)
    )
    made.watch(lambda: None)
    yield made, child, written, lines, dropped
    batches.close()
    for fd in (child.beat_end, child.out_end):
        os.close(fd)


async def test_of_a_flood_of_heartbeats_a_few_are_read_and_the_newest_and_a_quiet_one_never_waits(running):
    made, child, _, lines, dropped = running
    os.write(child.beat_end, b"one\n")
    await until(lambda: lines == [b"one"])
    began = time.monotonic()
    thread = writing(child.beat_end, b"".join(b"%d\n" % number for number in range(20_000)))
    await until(lambda: time.monotonic() - began > 1.0)
    spent = time.monotonic() - began
    assert LINES_BURST / 2 < len(lines) <= LINES_BURST + spent * LINES + 2
    assert lines[1:50] == [b"%d" % number for number in range(49)]
    await until(lambda: not thread.is_alive())
    made.close()
    assert lines[-1] == b"19999"
    assert len(lines) + sum(dropped) == 20_001


async def test_last_words_are_read_from_both_pipes(running):
    made, child, written, lines, _ = running
    os.write(child.out_end, b"last words\nwithout an end")
    os.write(child.beat_end, b"last beat\n")
    made.close()
    assert [fields["text"] for _, _, fields in written] == ["last words", "without an end"]
    assert lines == [b"last beat"]
