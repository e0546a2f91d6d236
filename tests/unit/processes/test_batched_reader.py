"""Pipes that are read in batches."""

import asyncio
import os

import pytest

from mindbot_supervisor.processes.pipes import worker_pipes
from mindbot_supervisor.processes.pipes.worker_pipes import BatchedReader

pytestmark = pytest.mark.asyncio


class Pipes:
    """Some pipes, and what was read from them, a list for each wake-up of the loop."""

    def __init__(self, many: int) -> None:
        self.ends = [os.pipe() for _ in range(many)]
        self.got: asyncio.Queue[bytes] = asyncio.Queue()
        self.batches = BatchedReader()
        for reader, _ in self.ends:
            self.batches.add(reader, lambda fd=reader: self.got.put_nowait(os.read(fd, 100)))

    def write(self, index: int, data: bytes) -> None:
        os.write(self.ends[index][1], data)

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.got.get(), 30)

    def close(self) -> None:
        self.batches.close()
        for end in self.ends:
            for fd in end:
                os.close(fd)


@pytest.fixture
async def pipes():
    made = Pipes(3)
    yield made
    made.close()


async def test_what_is_written_is_read_again_and_again(pipes):
    for number in range(5):
        for index in range(3):
            pipes.write(index, b"%d%d" % (number, index))
        assert sorted([await pipes.next() for _ in range(3)]) == [b"%d%d" % (number, index) for index in range(3)]


async def test_a_few_pipes_are_read_at_once_however_closely_their_lines_follow(pipes, monkeypatch):
    monkeypatch.setattr(worker_pipes, "REST", 1000.0)
    for number in range(5):
        pipes.write(number % 3, b"%d" % number)
        assert await pipes.next() == b"%d" % number


async def test_those_who_write_meanwhile_are_read_together(pipes, monkeypatch):
    monkeypatch.setattr(worker_pipes, "FEW", 2)
    pipes.write(0, b"a")
    await pipes.next()
    pipes.write(0, b"b")
    await pipes.next()  # it follows the first one closely: now the pipes rest
    pipes.write(0, b"c")
    pipes.write(0, b"d")
    assert await pipes.next() == b"cd"


async def test_a_reader_may_remove_itself_and_others(pipes):
    first, second = pipes.ends[0][0], pipes.ends[1][0]

    def read_and_end() -> None:
        pipes.batches.remove(first)
        pipes.batches.remove(second)
        pipes.batches.remove(second)
        pipes.got.put_nowait(b"last")

    for fd in (first, second):
        pipes.batches.remove(fd)
        pipes.batches.add(fd, read_and_end)
    pipes.write(0, b"x")
    pipes.write(1, b"y")
    assert await pipes.next() == b"last"
    pipes.write(2, b"still there")
    assert await pipes.next() == b"still there"
    assert pipes.got.empty()
