"""The heartbeat pipe: whole lines only, whoever writes, however slowly it is read."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import Any

import pytest

from mindbot_config.host.descriptors import Descriptor
from mindbot_worker.protocol.heartbeat import DRAINING, READY, Beat, Call, decode, encode
from mindbot_worker.runtime.call_records import CallRecords
from mindbot_worker.runtime.heartbeat import HeartbeatPipe, WorkerStatus


def small(seq: int) -> Beat:
    return Beat(seq=seq, state=READY)


def large(seq: int) -> Beat:
    return Beat(seq=seq, state=READY, pids=tuple(range(10_000, 11_000)))


def lines(data: bytes) -> list[Beat]:
    assert data.endswith(b"\n")
    return [decode(line) for line in data.splitlines()]


@pytest.fixture
def pipe() -> Any:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 8192)
    yield reading, writing
    os.close(reading)


def test_beats_are_numbered_in_the_order_in_which_they_are_written(pipe: Any) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 65536)
    heartbeat = HeartbeatPipe(Descriptor(pipe[1]))
    threads = [threading.Thread(target=lambda: [heartbeat.send(small) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [beat.seq for beat in lines(os.read(pipe[0], 65536))] == list(range(1, 81))


def test_a_full_pipe_loses_the_newest_beats_and_blocks_nobody(pipe: Any) -> None:
    heartbeat = HeartbeatPipe(Descriptor(pipe[1]))
    sent = sum(heartbeat.send(small) for _ in range(1000))
    assert sent < 1000 and heartbeat.dropped == 1000 - sent
    read = lines(os.read(pipe[0], 65536))
    assert len(read) == sent
    assert heartbeat.send(small) and lines(os.read(pipe[0], 65536))[0].seq > read[-1].seq


def test_a_beat_larger_than_the_room_is_finished_before_another_begins(pipe: Any) -> None:
    heartbeat = HeartbeatPipe(Descriptor(pipe[1]))
    assert heartbeat.send(small) and heartbeat.send(large)
    assert not heartbeat.send(large), "the one before it is not out yet"
    data = b""
    for _ in range(10):
        data += os.read(pipe[0], 1000)
        heartbeat.send(small)
        os.set_blocking(pipe[0], False)
    heartbeat.send_last(small, patience=1)
    try:
        while chunk := os.read(pipe[0], 65536):
            data += chunk
    except BlockingIOError:
        heartbeat.send(small)
    beats = lines(data[: data.rindex(b"\n") + 1])
    assert sorted(beat.seq for beat in beats) == [beat.seq for beat in beats]
    assert sum(len(beat.pids) for beat in beats) == 1000


def test_a_pipe_that_nobody_reads_any_more_ends_the_writer_silently() -> None:
    reading, writing = os.pipe()
    heartbeat = HeartbeatPipe(Descriptor(writing))
    os.close(reading)
    assert not heartbeat.send(small) and not heartbeat.connected and not heartbeat.send_last(small, patience=5)


def test_without_a_pipe_nothing_happens() -> None:
    assert not HeartbeatPipe(None).send(small) and not HeartbeatPipe(None).connected


def test_the_descriptor_is_neither_inherited_nor_blocking(pipe: Any) -> None:
    os.set_inheritable(pipe[1], True)
    HeartbeatPipe(Descriptor(pipe[1]))
    assert not os.get_inheritable(pipe[1]) and not os.get_blocking(pipe[1])


def test_a_beat_over_the_limit_is_cut_down_to_fit(pipe: Any) -> None:
    calls = tuple(Call(room="r" * 500, job=f"j{number}") for number in range(500))
    os.set_blocking(pipe[0], False)
    HeartbeatPipe(Descriptor(pipe[1])).send(
        lambda seq: Beat(seq=seq, state=DRAINING, calls=calls, pids=(2,), errors_total=3)
    )
    beat = lines(os.read(pipe[0], 65536))[0]
    assert (beat.state, beat.calls, beat.errors_total) == (DRAINING, (), 3)


@pytest.mark.parametrize("load", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_load_that_is_no_number_does_not_spoil_the_beat(load: float) -> None:
    status = WorkerStatus(CallRecords(0.0), load=load)
    status.pids = {os.getpid(), 4711}
    beat = decode(encode(status.beat(1, lag=0.0123))[:-1])
    assert (beat.load, beat.lag_ms, beat.pids) == (0.0, 12.3, (4711,))
