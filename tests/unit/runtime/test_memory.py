"""How often the memory of single processes is read."""

import os

import pytest

from mindbot_supervisor.runtime import memory, proctable
from mindbot_supervisor.runtime.memory import AGAIN, MB, STILL, Footprints
from mindbot_supervisor.runtime.proctable import Proc


def proc(pid: int, rss: int, started: int = 1) -> Proc:
    return Proc(pid, 1, pid, "S", started, 0, rss)


@pytest.fixture
def read(monkeypatch):
    """The pids that were read; PSS is half of RSS, and USS a quarter."""
    pids = []

    def one(each: Proc) -> tuple[int, int]:
        pids.append(each.pid)
        return each.rss_bytes // 2, each.rss_bytes // 4

    monkeypatch.setattr(memory, "_one", one)
    return pids


def test_only_those_of_a_tree_are_read_again_whose_size_has_changed(read):
    each = Footprints()
    assert each.of([proc(1, 40 * MB), proc(2, 80 * MB)], 0.0) == (60, 30, 120)
    assert each.of([proc(1, 40 * MB + STILL - 1), proc(2, 84 * MB)], 1.0) == (62, 31, 124)
    assert read == [1, 2, 2]


def test_those_that_stand_still_are_read_again_after_a_while(read):
    each = Footprints()
    for now in (0.0, AGAIN - 1, AGAIN):
        each.of([proc(1, MB)], now)
    assert read == [1, 1]


def test_a_later_process_with_the_same_pid_is_read(read):
    each = Footprints()
    each.of([proc(1, MB)], 0.0)
    each.of([proc(1, MB, started=2)], 1.0)
    assert read == [1, 1]


def test_nothing_is_kept_of_processes_that_are_gone(read):
    each = Footprints()
    each.of([proc(1, MB), proc(2, MB)], 0.0)
    each.keep({2: proc(2, MB)})
    assert set(each._known) == {(2, 1)}


def test_a_process_that_is_gone_has_no_memory_and_needs_no_psutil(monkeypatch):
    monkeypatch.setattr(memory, "_by_psutil", lambda _: pytest.fail("asked psutil"))
    assert Footprints().of([proc(2**22 + 1, MB)], 0.0) == (0, 0, 1)


def test_this_very_process_has_memory():
    pss, uss, rss = Footprints().of([proctable.read_one(os.getpid())], 0.0)
    assert 0 < uss <= pss <= rss
