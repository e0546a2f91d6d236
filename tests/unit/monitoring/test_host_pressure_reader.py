"""How short memory and CPU are: of the own cgroup where the kernel tells, else of the host."""

from pathlib import Path

import pytest

from mindbot_config.host import resource_limits
from mindbot_config.host.cgroups import Mount, Mounts
from mindbot_config.host.resource_limits import Memory
from mindbot_supervisor.core.health.host_pressure import Host
from mindbot_supervisor.monitoring.host_pressure_reader import look

SOME, FULL = "some avg10={} avg60=1.00 avg300=0.00 total=1\n", "full avg10={} avg60=0.00 avg300=0.00 total=1\n"


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    monkeypatch.setattr(resource_limits, "memory", lambda _: Memory(2048.0, "", 512.0))
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("4:memory:/x\n0::/own\n")
    (tmp_path / "own").mkdir()
    return Mounts(v2=Mount("/", tmp_path), proc=tmp_path)


def write(path: Path, text: str, *numbers: float) -> None:
    path.write_text(text.format(*numbers))


def test_stalls_and_memory_of_the_host_are_read(tmp_path, mounts):
    write(tmp_path / "cpu", SOME, 81.5)
    write(tmp_path / "memory", SOME + FULL, 9.0, 4.25)
    assert look(mounts, tmp_path) == Host(81.5, 4.25, None, 512.0, 2048.0)


def test_the_own_groups_pressure_counts_where_there_is_one(tmp_path, mounts):
    write(tmp_path / "cpu", SOME, 1.0)
    write(tmp_path / "io", FULL, 2.0)
    write(tmp_path / "own" / "cpu.pressure", SOME + FULL, 77.0, 3.0)
    write(tmp_path / "own" / "memory.pressure", SOME + FULL, 12.0, 11.0)
    assert look(mounts, tmp_path) == Host(77.0, 11.0, 2.0, 512.0, 2048.0)


def test_what_the_kernel_does_not_tell_is_none(tmp_path, mounts):
    (tmp_path / "cpu").write_text("nonsense\n\n")
    (tmp_path / "own" / "cpu.pressure").write_text("")
    assert look(mounts, tmp_path) == Host(None, None, None, 512.0, 2048.0)


def test_this_host_answers(monkeypatch):
    monkeypatch.undo()
    assert look(Mounts.find()).total_mb > 64
