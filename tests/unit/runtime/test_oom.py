"""Cause of death from the kernel: certain where its log names the victim or the worker's own cgroup counted it."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mindbot_supervisor.core.model import Ref
from mindbot_supervisor.runtime import oom
from mindbot_supervisor.runtime.cgroups import Cgroups, Mount, number_after
from mindbot_supervisor.runtime.oom import Oom, read

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

    def cgroups(self) -> Cgroups:
        for pid in (100, 200):
            (self.folder / str(pid)).mkdir()
            (self.folder / str(pid) / "cgroup").write_text(V1 if self.version == "v1" else V2)
        mount = Mount("/", self.folder)
        return Cgroups(mount, None, self.folder) if self.version == "v1" else Cgroups(None, mount, self.folder)


@pytest.fixture(params=["v1", "v2"])
def host(request, tmp_path, monkeypatch):
    monkeypatch.setattr(oom, "VMSTAT", tmp_path / "vmstat")
    made = Host(tmp_path, request.param)
    made.count(3)
    made.whole(7)
    return made


def watching(host: Host) -> tuple[Oom, Log]:
    log = Log()
    watch = Oom(host.cgroups(), log)
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
        watch.looked(read(watch.cgroups, {100: A}, float(second)))
    assert watch.explain(A, 100, 10.0) is None


def test_a_sample_taken_between_the_kill_and_its_exit_does_not_hide_it(host):
    watch, _ = watching(host)
    for second in range(1, 10):
        watch.looked(read(watch.cgroups, {100: A}, float(second)))
    host.count(4)
    watch.looked(read(watch.cgroups, {100: A}, 10.0))
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


def test_the_hierarchies_are_found_in_the_mount_table(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(
        "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "31 24 0:27 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    )
    found = Cgroups.find(table)
    assert found.v2.folder("/a/b") == Path("/sys/fs/cgroup/unified/a/b")
    assert found.v1.folder("/box/a") == Path("/sys/fs/cgroup/memory/a")
    assert found.v1.folder("/elsewhere") is None
    assert Cgroups.find(tmp_path / "none") == Cgroups()


def test_a_number_is_read_only_where_there_is_one(tmp_path):
    (tmp_path / "f").write_text("oom 2\noom_kill 5\nbad x\n")
    assert [number_after(tmp_path / "f", word) for word in ("oom_kill", "oom", "bad", "none")] == [5, 2, None, None]
    assert number_after(tmp_path / "missing", "oom_kill") is None
