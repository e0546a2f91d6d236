"""Cause of death from the kernel: certain where its log names the victim or the worker's own cgroup counted it."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mindbot_config.host.cgroups import Mount, Mounts
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring import oom_killer as oom
from mindbot_supervisor.monitoring.oom_killer import OomKiller, jobs_killed, read
from mindbot_worker.protocol.heartbeat import Ended
from unit.core.build import Driver, beat, call

A, B = Ref(0, 1), Ref(1, 1)
V1 = "4:memory:/own\n3:cpuset:/\n0::/\n"
V2 = "0::/own\n"


@dataclass
class Log:
    """A kernel log in which the test writes."""

    pids: list[int] = field(default_factory=list)

    def victims(self):
        pids, self.pids = self.pids, []
        return pids

    def close(self):
        pass


@dataclass
class Host:
    """A made-up host: a cgroup `own` with a counter, /proc entries for two pids, and /proc/vmstat."""

    folder: Path
    version: str

    def count(self, kills: int) -> None:
        name = {"v1": "memory.oom_control", "v2": "memory.events"}[self.version]
        (self.folder / "own").mkdir(exist_ok=True)
        (self.folder / "own" / name).write_text(f"low 0\noom_kill_disable 0\noom_kill {kills}\n")

    def whole(self, kills: int) -> None:
        (self.folder / "vmstat").write_text(f"pgfault 1\noom_kill {kills}\n")

    def mounts(self) -> Mounts:
        for pid in (100, 200):
            (self.folder / str(pid)).mkdir()
            (self.folder / str(pid) / "cgroup").write_text(V1 if self.version == "v1" else V2)
        mount = Mount("/", self.folder)
        return Mounts({"memory": mount}, None, self.folder) if self.version == "v1" else Mounts({}, mount, self.folder)


@pytest.fixture(params=["v1", "v2"])
def host(request, tmp_path, monkeypatch):
    monkeypatch.setattr(oom, "VMSTAT", tmp_path / "vmstat")
    made = Host(tmp_path, request.param)
    made.count(3)
    made.whole(7)
    return made


def watching(host: Host) -> tuple[OomKiller, Log]:
    log = Log()
    watch = OomKiller(host.mounts(), log)
    watch.spawned(A, 100, 0.0)
    watch.spawned(B, 200, 0.0)
    return watch, log


def test_a_victim_that_the_kernel_log_names_is_certain(host):
    watch, log = watching(host)
    log.pids.append(100)
    found = watch.explain(A, 100, 1.0)
    assert found.certain
    assert "/dev/kmsg" in found.detail
    assert watch.explain(B, 200, 1.0) is None


def test_a_rise_of_its_own_cgroups_counter_is_certain_and_says_where(host):
    watch, _ = watching(host)
    host.count(4)
    found = watch.explain(A, 100, 1.0)
    assert found.certain
    assert str(host.folder / "own") in found.detail
    assert "from 3 to 4" in found.detail


def test_one_kill_counted_explains_one_end_only(host):
    watch, _ = watching(host)
    host.count(4)
    assert watch.explain(A, 100, 1.0).certain
    assert watch.explain(B, 200, 1.1) is None


def test_a_kill_whose_victim_the_log_names_explains_nobody_elses_end(host):
    watch, log = watching(host)
    log.pids.append(999)
    host.count(4)
    assert watch.explain(A, 100, 1.0) is None


def test_the_hosts_counter_alone_is_a_hint_and_no_verdict(host):
    watch, _ = watching(host)
    host.whole(8)
    found = watch.explain(A, 100, 1.0)
    assert not found.certain
    assert "perhaps" in found.detail


def test_without_any_trace_nothing_is_said(host):
    watch, _ = watching(host)
    assert watch.explain(A, 100, 1.0) is None
    assert watch.explain(Ref(9, 9), 900, 1.0) is None


def test_a_kill_that_was_counted_long_before_explains_nothing(host):
    watch, _ = watching(host)
    host.count(4)
    for second in range(1, 10):
        watch.looked(read(watch.mounts, {100: A}, float(second)))
    assert watch.explain(A, 100, 10.0) is None


def test_a_sample_taken_between_the_kill_and_its_exit_does_not_hide_it(host):
    watch, _ = watching(host)
    for second in range(1, 10):
        watch.looked(read(watch.mounts, {100: A}, float(second)))
    host.count(4)
    watch.looked(read(watch.mounts, {100: A}, 10.0))
    assert watch.explain(A, 100, 10.5).certain


def test_what_was_said_of_an_earlier_process_with_this_pid_is_void(host):
    watch, log = watching(host)
    log.pids.append(300)
    watch.spawned(Ref(2, 1), 300, 5.0)
    assert watch.explain(Ref(2, 1), 300, 6.0) is None


@pytest.mark.parametrize(
    ("record", "victim"),
    [
        (b"3,9,5,-;Memory cgroup out of memory: Killed process 31393 (python3) total-vm:1kB", 31393),
        (b"3,9,5,-;Out of memory: Killed process 7 (a) b) total-vm:1kB", 7),
        (b"12,9,5,-;Out of memory: Killed process 7 (x)", None),
        (b"6,9,5,-;oom_reaper: reaped process 7 (x)", None),
    ],
)
def test_only_the_kernels_own_words_name_a_victim(record, victim):
    found = oom._VICTIM.match(record)
    assert (int(found[2]) if found else None) == victim


# -- job processes of a worker that lives -----------------------------------------------------------------------------


class KernelLog:
    """A kernel log in which the test writes."""

    pids: tuple[int, ...] = ()

    def victims(self):
        pids, self.pids = self.pids, ()
        return pids


def in_a_call() -> tuple[Driver, OomKiller, KernelLog]:
    driver, log = Driver(), KernelLog()
    driver.fill()
    driver.beat(A, calls=(call(1, pid=500), call(2, pid=600)))
    return driver, OomKiller(Mounts(), log), log


def over(outcome: str):
    return beat(99, calls=(call(2, pid=600),), ended=(Ended("r1", "AJ_1", outcome),))


def test_a_victim_is_told_with_its_call_and_where_that_was_read():
    driver, oom, log = in_a_call()
    log.pids = (500,)
    (told,) = jobs_killed(oom, driver.pool, A, over("killed"), driver.now)
    assert (told.event, told.worker, told.pid, told.level) == (log_events.WORKER_OOM, A, 1001, "error")
    assert (told.fields["room"], told.fields["job"], told.fields["process"]) == ("r1", "AJ_1", 500)
    assert "/dev/kmsg" in told.fields["detail"]


def test_a_job_process_that_died_of_something_else_is_no_victim():
    driver, oom, log = in_a_call()
    log.pids = (600, 700)
    assert list(jobs_killed(oom, driver.pool, A, over("killed"), driver.now)) == []


def test_a_call_that_ended_well_asks_nobody_and_neither_does_an_unknown_worker():
    driver, oom, log = in_a_call()
    log.pids = (500,)
    assert list(jobs_killed(oom, driver.pool, A, over("completed"), driver.now)) == []
    assert list(jobs_killed(oom, driver.pool, Ref(9, 9), over("killed"), driver.now)) == []
