"""How often the memory of single processes is read."""

import os
from types import SimpleNamespace

import psutil
import pytest

from mindbot_supervisor.monitoring.memory_reader import AGAIN, MB, STILL, MemoryReader, Reading
from mindbot_supervisor.monitoring.process_table import Process


class Handle:
    """PSS is half of RSS, and USS a quarter; every reading is counted."""

    def __init__(self, pid):
        self.pid, self.rss, self.reads = pid, 0, 0

    def memory_full_info(self):
        self.reads += 1
        return SimpleNamespace(pss=self.rss // 2, uss=self.rss // 4)


def process(pid):
    return Process(Handle(pid), 1, pid, 0)


def reading(each, rss):
    each.handle.rss = rss
    return Reading(each, 0.0, rss)


def test_only_those_of_a_tree_are_read_again_whose_size_has_changed():
    made, one, two = MemoryReader(), process(1), process(2)
    assert made.of([reading(one, 40 * MB), reading(two, 80 * MB)], 0.0) == (60, 30, 120)
    assert made.of([reading(one, 40 * MB + STILL - 1), reading(two, 84 * MB)], 1.0) == (62, 31, 124)
    assert (one.handle.reads, two.handle.reads) == (1, 2)


def test_those_that_stand_still_are_read_again_after_a_while():
    made, one = MemoryReader(), process(1)
    for now in (0.0, AGAIN - 1, AGAIN):
        made.of([reading(one, MB)], now)
    assert one.handle.reads == 2


def test_a_later_process_with_the_same_pid_is_read():
    made, one, later = MemoryReader(), process(1), process(1)
    for each in (one, later):
        made.of([reading(each, MB)], 0.0)
    assert later.handle.reads == 1


def test_nothing_is_kept_of_processes_that_are_gone():
    made, one, two = MemoryReader(), process(1), process(2)
    made.of([reading(one, MB), reading(two, MB)], 0.0)
    made.forget_others([two])
    made.of([reading(one, MB), reading(two, MB)], 1.0)
    assert (one.handle.reads, two.handle.reads) == (2, 1)


@pytest.mark.parametrize(
    ("raised", "expected"), [(psutil.NoSuchProcess(1), (0, 0, 1)), (psutil.AccessDenied(1), (1, 1, 1))]
)
def test_one_that_is_gone_has_no_memory_and_one_that_may_not_be_read_its_rss(raised, expected):
    one = process(1)

    def refuse():
        raise raised

    one.handle.memory_full_info = refuse
    assert MemoryReader().of([reading(one, MB)], 0.0) == expected


def test_a_shortage_of_descriptors_is_no_reading():
    one = process(1)

    def refuse():
        raise OSError(24, "Too many open files")

    one.handle.memory_full_info = refuse
    with pytest.raises(OSError, match="Too many"):
        MemoryReader().of([reading(one, MB)], 0.0)


def test_this_very_process_has_memory():
    handle = psutil.Process(os.getpid())
    pss, uss, rss = MemoryReader().of([Reading(Process(handle, 1, 1, 0), 0.0, handle.memory_info().rss)], 0.0)
    assert 0 < uss <= pss <= rss
