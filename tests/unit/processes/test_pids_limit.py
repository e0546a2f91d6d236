"""A limit of processes that was hit while a worker started, by the counters of our own cgroups."""

from pathlib import Path

import pytest

from mindbot_config.host.cgroups import Mounts
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.processes.limits.pids_limit import COUNTER, PidsLimit, find

A, B = Ref(0, 1), Ref(1, 1)


@pytest.fixture
def host(tmp_path):
    """Mounts as systemd makes them, with v1 and v2 side by side, and a process three cgroups deep."""
    v1, v2 = tmp_path / "pids", tmp_path / "unified"
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("8:pids:/a/b\n4:memory:/other\n1:name=systemd:/s\n0::/x/y\n")
    (tmp_path / "mounts").write_text(
        f"30 24 0:26 / {v2} rw - cgroup2 cgroup2 rw\n"
        f"31 24 0:27 / {v1} rw - cgroup cgroup rw,pids\n"
        f"32 24 0:28 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
        "33 24 0:29 / /proc rw - proc proc rw\n"
    )
    for folder in (v1 / "a" / "b", v2 / "x" / "y"):
        folder.mkdir(parents=True)
        for each in (folder, folder.parent):
            (each / COUNTER).write_text("max 3\n")
    return tmp_path


def mounts_of(host):
    return Mounts.find(host / "mounts", host)


def test_the_counters_of_the_own_cgroup_and_of_those_above_it_are_found(host):
    found = find(mounts_of(host))
    assert found == [
        host / "pids" / "a" / "b" / COUNTER,
        host / "pids" / "a" / COUNTER,
        host / "unified" / "x" / "y" / COUNTER,
        host / "unified" / "x" / COUNTER,
    ]


@pytest.mark.parametrize("missing", ["mounts", "self/cgroup"])
def test_without_cgroups_there_is_nothing_to_say(host, missing):
    (host / missing).unlink()
    limit = PidsLimit(find(mounts_of(host)))
    limit.spawned(A)
    assert limit.hit(A) == ""


def test_only_a_hit_since_the_worker_was_started_counts_and_only_once(host):
    counters = find(mounts_of(host))
    limit = PidsLimit(counters)
    limit.spawned(A)
    counters[1].write_text("max 4\n")
    limit.spawned(B)
    assert limit.hit(B) == ""
    assert "pids.max" in limit.hit(A)
    assert limit.hit(A) == "" and limit.hit(Ref(7, 7)) == ""


def test_a_counter_that_goes_away_is_no_hit(host):
    counters = find(mounts_of(host))
    limit = PidsLimit(counters)
    limit.spawned(A)
    for path in counters:
        Path(path).unlink()
    assert limit.hit(A) == ""
