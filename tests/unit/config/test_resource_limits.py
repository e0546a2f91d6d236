"""The memory and the CPUs that a process may use, on made-up cgroup trees: v1, v2, both, and none."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mindbot_config.host import resource_limits
from mindbot_config.host.cgroups import Mount, Mounts, number_after, read, word_after

MB = 1024 * 1024
NO_LIMIT_V1 = "9223372036854771712"


@dataclass
class Host:
    """A host with 24 GiB, 20 of them available, and 64 CPUs; the test adds groups."""

    folder: Path
    groups: list[str] = field(default_factory=list)

    def file(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def mounts(self, *lines: str, own: str) -> Mounts:
        self.file("mountinfo", "".join(f"{line.format(at=self.folder)}\n" for line in lines))
        self.file("self/cgroup", own)
        return Mounts.find(self.folder / "mountinfo", self.folder)


V2 = "31 24 0:27 / {at}/unified rw - cgroup2 cgroup2 rw"
V1_MEMORY = "32 24 0:28 / {at}/memory rw - cgroup cgroup rw,memory"
V1_CPU = "33 24 0:29 / {at}/cpu rw - cgroup cgroup rw,cpu,cpuacct"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    whole = SimpleNamespace(total=24 * 1024 * MB, available=20 * 1024 * MB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: whole)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    return Host(tmp_path)


def test_without_any_cgroup_the_host_counts(host: Host) -> None:
    mounts = host.mounts(own="")
    assert resource_limits.memory(mounts) == resource_limits.Memory(24 * 1024, "the host's memory", 20 * 1024)
    assert resource_limits.cpus(mounts) == resource_limits.Cpus(64, "the host's CPUs")


def test_v2_the_lowest_limit_of_the_chain_counts_with_its_place(host: Host) -> None:
    host.file("unified/a/b/memory.max", "max\n")
    host.file("unified/a/memory.max", f"{200 * MB}\n")
    host.file("unified/memory.max", f"{900 * MB}\n")
    host.file("unified/a/memory.current", f"{150 * MB}\n")
    host.file("unified/a/memory.stat", f"anon 1\ninactive_file {30 * MB}\n")
    found = resource_limits.memory(host.mounts(V2, own="0::/a/b\n"))
    assert found == resource_limits.Memory(200, "cgroup memory.max of /a", 80)


def test_v2_a_limit_that_throttles_is_a_limit(host: Host) -> None:
    host.file("unified/a/memory.max", f"{400 * MB}\n")
    host.file("unified/a/memory.high", f"{300 * MB}\n")
    assert resource_limits.memory(host.mounts(V2, own="0::/a\n")).source == "cgroup memory.high of /a"


def test_v1_no_limit_is_none_and_a_limit_counts(host: Host) -> None:
    host.file("memory/a/memory.limit_in_bytes", NO_LIMIT_V1)
    mounts = host.mounts(V1_MEMORY, own="4:memory:/a\n")
    assert resource_limits.memory(mounts).source == "the host's memory"
    host.file("memory/a/memory.limit_in_bytes", str(200 * MB))
    host.file("memory/a/memory.usage_in_bytes", str(250 * MB))
    host.file("memory/a/memory.stat", f"cache 0\ntotal_inactive_file {100 * MB}\n")
    assert resource_limits.memory(mounts) == resource_limits.Memory(200, "cgroup memory.limit_in_bytes of /a", 50)


def test_v1_a_limit_above_what_a_container_sees_is_known(host: Host) -> None:
    host.file("memory/memory.limit_in_bytes", NO_LIMIT_V1)
    host.file("memory/memory.stat", f"cache 0\nhierarchical_memory_limit {300 * MB}\n")
    found = resource_limits.memory(host.mounts(V1_MEMORY, own="4:memory:/\n"))
    assert (found.limit_mb, found.source) == (300, "cgroup hierarchical_memory_limit of /")


@pytest.mark.parametrize("lower", ["memory", "unified"])
def test_where_both_are_mounted_the_lower_one_counts(host: Host, lower: str) -> None:
    sizes = {"memory": 500, "unified": 500, lower: 100}
    host.file("memory/a/memory.limit_in_bytes", str(sizes["memory"] * MB))
    host.file("unified/a/memory.max", str(sizes["unified"] * MB))
    found = resource_limits.memory(host.mounts(V1_MEMORY, V2, own="4:memory:/a\n0::/a\n"))
    assert found.limit_mb == 100


def test_a_limit_beyond_the_hosts_memory_is_none(host: Host) -> None:
    host.file("unified/a/memory.max", str(48 * 1024 * MB))
    assert resource_limits.memory(host.mounts(V2, own="0::/a\n")).limit_mb == 24 * 1024


def test_what_is_available_on_the_host_bounds_what_is_left_of_the_limit(host: Host) -> None:
    host.file("unified/a/memory.max", str(23 * 1024 * MB))
    assert resource_limits.memory(host.mounts(V2, own="0::/a\n")).available_mb == 20 * 1024


def test_a_container_that_cannot_see_its_path_has_what_is_mounted(host: Host) -> None:
    host.file("unified/memory.max", str(200 * MB))
    for own in ("0::/docker/abc\n", "0::/../outside\n"):
        assert resource_limits.memory(host.mounts(V2, own=own)).source == "cgroup memory.max of /"
    mounted = "31 24 0:27 /docker/abc {at}/unified rw - cgroup2 cgroup2 rw"
    assert resource_limits.memory(host.mounts(mounted, own="0::/docker/abc\n")).limit_mb == 200


@pytest.mark.parametrize(
    ("text", "count", "whole"),
    [
        ("max 100000", 64, 64),
        ("200000 100000", 2, 2),
        ("150000 100000", 1.5, 2),
        ("5000 100000", 0.05, 1),
        ("x", 64, 64),
    ],
)
def test_v2_a_quota_is_a_number_of_cpus(host: Host, text: str, count: float, whole: int) -> None:
    host.file("unified/a/cpu.max", f"{text}\n")
    found = resource_limits.cpus(host.mounts(V2, own="0::/a\n"))
    assert (found.count, found.whole) == (count, whole)


def test_v1_a_quota_is_a_number_of_cpus_and_says_where(host: Host) -> None:
    host.file("cpu/a/cpu.cfs_quota_us", "-1")
    host.file("cpu/a/cpu.cfs_period_us", "100000")
    mounts = host.mounts(V1_CPU, own="1:cpu,cpuacct:/a\n")
    assert resource_limits.cpus(mounts).count == 64
    host.file("cpu/a/cpu.cfs_quota_us", "300000")
    assert resource_limits.cpus(mounts) == resource_limits.Cpus(3, "cgroup cpu.cfs_quota_us of /a")


def test_the_affinity_bounds_the_quota(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5})
    host.file("unified/a/cpu.max", "400000 100000\n")
    mounts = host.mounts(V2, own="0::/a\n")
    assert resource_limits.cpus(mounts) == resource_limits.Cpus(2, "the CPU affinity")


def test_the_cpu_time_of_a_group_is_known_by_either_version(host: Host) -> None:
    host.file("unified/a/cpu.stat", "usage_usec 2500000\nuser_usec 1\n")
    host.file("cpu/a/cpuacct.usage", "1500000000\n")
    v2, v1 = host.mounts(V2, own=""), host.mounts(V1_CPU, own="")
    assert resource_limits.cpu_seconds_used(v2, host.folder / "unified/a") == 2.5
    assert resource_limits.cpu_seconds_used(v1, host.folder / "cpu/a") == 1.5
    assert resource_limits.cpu_seconds_used(v1, host.folder / "cpu/none") is None


def test_the_hierarchies_are_found_in_the_mount_table(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "31 24 0:27 /box /sys/fs/cgroup/my\\040memory rw - cgroup cgroup rw,memory\n"
        "32 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "nonsense\n"
    )
    found = Mounts.find(table)
    assert found.v2 is not None
    assert found.v2.folder("/a/b") == Path("/sys/fs/cgroup/unified/a/b")
    assert found.v1["memory"].folder("/box/a") == Path("/sys/fs/cgroup/my memory/a")
    assert found.v1["memory"].folder("/elsewhere") is None
    assert Mount("/", Path("/x")).folder("/../other") is None
    assert Mounts.find(tmp_path / "none") == Mounts()


def test_numbers_are_read_only_where_there_are_any(tmp_path: Path) -> None:
    data = b"oom 2\noom_kill 5\nbad x\nlast"
    assert [number_after(data, label) for label in (b"oom_kill ", b"oom ", b"bad ", b"none ")] == [5, 2, None, None]
    assert word_after(data, b"bad ") == b"x"
    assert word_after(data, b"last") is None
    assert read(tmp_path / "missing") is None


def test_this_host_answers() -> None:
    found = resource_limits.memory()
    assert 0 < found.available_mb <= found.limit_mb
    assert found.source
    assert 1 <= resource_limits.cpus().whole <= (os.cpu_count() or 1)
