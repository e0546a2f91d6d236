"""Which processes the sampler reads, round after round."""

import os

import pytest

from mindbot_supervisor.runtime import proctable, scan
from mindbot_supervisor.runtime.proctable import Proc
from mindbot_supervisor.runtime.scan import ANEW_EVERY, LIST_EVERY, LIST_LEAST, Scan

ME = os.getpid()


class Host:
    """A made-up host: its processes, the kernel's last pid, and what was read of it."""

    def __init__(self):
        self.procs: dict[int, Proc] = {}
        self.newest, self.lists, self.reads = b"", 0, []

    def start(self, pid: int, ppid: int, session: int = 0, started: int = 1, name: str = "") -> None:
        self.procs[pid] = Proc(pid, ppid, session or pid, "S", started, 0, 0, name)
        self.newest = str(pid).encode()

    def pids(self) -> set[int]:
        self.lists += 1
        return set(self.procs)

    def read(self, pid: int) -> Proc | None:
        self.reads.append(pid)
        return self.procs.get(pid)


@pytest.fixture
def host(monkeypatch):
    made = Host()
    monkeypatch.setattr(scan, "_pids", made.pids)
    monkeypatch.setattr(scan, "newest_pid", lambda: made.newest)
    monkeypatch.setattr(proctable, "read_one", made.read)
    made.start(1, 0)
    made.start(50, 1)
    made.start(ME, 1)
    return made


def look(host: Host, each: Scan, now: float, roots=(), named=()) -> set[int]:
    host.reads.clear()
    return set(each.look(now, roots, named))


def test_descendants_members_of_a_workers_session_and_named_ones_are_found(host):
    host.start(2**21, ME)
    host.start(2**21 + 1, 2**21)
    host.start(60, 1, session=55)
    host.start(70, 1)
    host.start(80, 2**21 + 1)  # its pid is lower than its parent's: pids began anew
    assert look(host, Scan(), 0.0, roots={55}, named={70}) == {2**21, 2**21 + 1, 60, 70, 80}


def test_a_job_process_of_a_leftover_is_found_by_its_name_where_its_job_server_is_not_ours(host):
    host.start(60, 1)
    host.start(61, 1, name="mindbot-jobs")
    host.start(62, 61, session=61, name="mb 0.1 job")
    host.start(63, 61, session=61, name="mbx 0.1 job")
    assert look(host, Scan(), 0.0, roots={60}) == {60, 62}


def test_strangers_are_read_once(host):
    each = Scan()
    host.start(100, ME)
    look(host, each, 0.0)
    assert {1, 50} <= set(host.reads)
    assert look(host, each, LIST_EVERY) == {100}
    assert host.reads == [100]


def test_pids_are_listed_only_after_a_start_but_now_and_then_anyway(host):
    each = Scan()
    look(host, each, 0.0)
    look(host, each, LIST_LEAST)
    assert host.lists == 1
    host.start(101, ME)
    assert look(host, each, 2 * LIST_LEAST) == {101}
    assert host.lists == 2
    look(host, each, 2 * LIST_LEAST + LIST_EVERY)
    assert host.lists == 3


def test_a_host_that_starts_processes_all_the_time_is_listed_only_so_often(host):
    each = Scan()
    look(host, each, 0.0)
    host.start(101, ME)
    assert look(host, each, LIST_LEAST - 0.1) == set()
    assert host.lists == 1
    assert look(host, each, LIST_LEAST) == {101}


def test_a_kernel_that_does_not_tell_its_last_pid_is_asked_for_all_each_time(host):
    each = Scan()
    look(host, each, 0.0)
    host.start(101, ME)
    host.newest = b""
    assert look(host, each, LIST_LEAST) == {101}


def test_roots_and_named_ones_are_read_at_once(host):
    each = Scan()
    look(host, each, 0.0)
    host.start(101, 1)
    host.start(102, 101)
    assert look(host, each, 0.1, roots={101}, named={102}) == {101, 102}


def test_who_was_followed_once_is_followed_until_its_end(host):
    each = Scan()
    host.start(100, ME)
    host.start(101, 100)
    look(host, each, 0.0)
    host.start(101, 1)  # its parent has died, and it is init's now
    del host.procs[100]
    assert look(host, each, 1.0) == {101}
    assert look(host, each, 1.0 + ANEW_EVERY) == {101}
    del host.procs[101]
    assert look(host, each, 2.0 + ANEW_EVERY) == set()


def test_a_later_process_with_the_pid_of_one_of_ours_is_judged_anew(host):
    each = Scan()
    host.start(100, ME)
    look(host, each, 0.0)
    host.start(100, 50, started=2)
    assert look(host, each, 1.0) == set()


def test_this_very_kernel_tells_its_last_pid():
    assert scan.newest_pid().isdigit()
    assert ME in scan._pids()
