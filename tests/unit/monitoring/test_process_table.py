"""Which processes are read, round after round."""

import os
import subprocess

import psutil
import pytest

from mindbot_supervisor.monitoring import process_table
from mindbot_supervisor.monitoring.process_table import ANEW_EVERY, ProcessTable
from unit.monitoring.made_up_host import ME, MadeUpHost


@pytest.fixture
def host(monkeypatch):
    return MadeUpHost().put(monkeypatch)


def look(host, table, now, roots=(), recorded=()):
    host.reads.clear()
    return set(table.look(now, roots, recorded))


def test_descendants_members_of_a_roots_session_and_recorded_ones_are_found(host):
    host.start(2**21, ME)
    host.start(2**21 + 1, 2**21)
    host.start(60, 1, session=55)
    host.start(70, 1)
    host.start(80, 2**21 + 1)  # its pid is lower than its parent's: pids began anew
    assert look(host, ProcessTable(), 0.0, roots={55}, recorded={70}) == {2**21, 2**21 + 1, 60, 70, 80}


def test_strangers_are_read_once_and_now_and_then_again(host):
    table = ProcessTable()
    host.start(100, ME)
    look(host, table, 0.0)
    assert {1, 50, 100} <= set(host.reads)
    assert look(host, table, 1.0) == {100}
    assert host.reads == []
    look(host, table, ANEW_EVERY)
    assert {1, 50} <= set(host.reads)


def test_new_ones_are_found_in_the_very_next_look(host):
    table = ProcessTable()
    look(host, table, 0.0)
    host.start(100, ME)
    host.start(101, 100)
    assert look(host, table, 0.1) == {100, 101}
    assert sorted(host.reads) == [100, 101]


def test_who_was_followed_once_is_followed_until_its_end(host):
    table = ProcessTable()
    host.start(100, ME)
    host.start(101, 100)
    look(host, table, 0.0)
    host.move(101, 1)
    host.end(100)
    assert look(host, table, 1.0) == {101}
    assert look(host, table, 1.0 + ANEW_EVERY) == {101}
    host.end(101)
    assert look(host, table, 2.0 + ANEW_EVERY) == set()


def test_a_child_whose_parent_was_not_listed_is_read_again(host, monkeypatch):
    """The list of pids is no snapshot: a parent may be born behind the place that was read already."""
    table = ProcessTable()
    host.start(101, 100)
    assert look(host, table, 0.0) == set()
    host.start(100, ME)
    assert look(host, table, 1.0) == {100, 101}


def test_a_later_process_with_the_pid_of_one_of_ours_is_judged_anew(host):
    table = ProcessTable()
    host.start(100, ME)
    look(host, table, 0.0)
    before = table.processes[100]
    host.start(100, 50, started=2.0)
    assert not before.lives
    table.drop(100)
    assert look(host, table, 1.0) == set()


def test_a_root_that_is_no_child_of_ours_is_found_though_it_was_taken_for_a_stranger(host):
    table = ProcessTable()
    host.start(101, 1)
    host.start(102, 101)
    look(host, table, 0.0)
    table.forget_strangers()
    assert look(host, table, 1.0, roots={101}) == {101, 102}


def test_dead_ones_that_were_left_to_us_are_to_be_reaped_and_others_not(host):
    table = ProcessTable()
    host.start(100, ME, status=psutil.STATUS_ZOMBIE)
    host.start(101, ME)
    host.start(102, 101, status=psutil.STATUS_ZOMBIE)
    look(host, table, 0.0)
    assert list(process_table.zombies(list(table.processes.values()))) == [100]
    assert not table.processes[100].lives


def test_this_very_kernel_tells_of_a_child():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        try:
            table = ProcessTable()
            found = table.look(0.0, ())[child.pid]
            assert (found.ppid, found.session, found.uid) == (ME, child.pid, os.getuid())
            assert found.lives
            assert found.key == (child.pid, process_table.started_at(psutil.Process(child.pid)))
            assert process_table.keys([found]) == [found.key]
        finally:
            child.kill()
            child.wait()
    assert not found.lives
    assert process_table.find(child.pid) is None
    assert process_table.keys(table.processes.values()) in ([], [found.key])
