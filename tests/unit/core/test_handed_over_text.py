"""What one daemon hands to the next is strict JSON, whatever callers and workers have put into it."""

import json
import os

import pytest

from mindbot_supervisor.core.workers import snapshot
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.upgrade import state_file

from .build import Driver, call

A = Ref(0, 1)


def state() -> state_file.State:
    driver = Driver()
    driver.fill()
    odd = call(1)
    driver.beat(
        A, calls=(type(odd)(room="\udc80\x1b[2J\u202e", job="j\ud800"),), errors_by={"\udfff": 1}, errors_total=1
    )
    return state_file.State(snapshot.take(driver.pool), [], 0, 1, None, 1.5, flights=["\ud800"])


def test_any_text_goes_along():
    told = state()
    fd = state_file.write(told)
    try:
        data = os.pread(fd, state_file.SIZE_MAX, 0)
        json.loads(data.decode(), parse_constant=pytest.fail)
        found = state_file.read(fd)
        assert found.pool.workers[0].history.beat.calls == told.pool.workers[0].history.beat.calls
        assert found.flights == told.flights and found.pool.slots == told.pool.slots
    finally:
        os.close(fd)


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"null", b'{"version": 1}', b"[" * 100_000, b'{"version": 2}'])
def test_a_state_that_is_none_is_refused(data):
    fd = os.memfd_create("test")
    os.write(fd, data)
    with pytest.raises(Refused):
        state_file.read(fd)
    os.close(fd)
