"""The load function: seats decide, the host's pressure only advises."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindbot_config.host.cgroups import Mount, Mounts
from mindbot_worker.runtime.agent_server import idle_processes
from mindbot_worker.runtime.capacity import FULL, HostPressure, load_of
from mindbot_worker.runtime.job_processes import backoff

TARGET_LOAD = 0.7
"""livekit-server's `agents.target_load`: where no worker is below it, nobody gets the call."""

seats = st.integers(min_value=1, max_value=1000)
pressures = st.floats(min_value=-1, max_value=10)


@given(calls=seats, max_calls=seats, pressure=pressures)
def test_a_worker_is_full_with_all_seats_taken_and_only_then(calls: int, max_calls: int, pressure: float) -> None:
    load = load_of(calls, max_calls, pressure)
    assert (load == FULL) == (calls >= max_calls)
    assert load == FULL or 0 <= load < TARGET_LOAD


@given(calls=seats, max_calls=seats, pressure=pressures)
def test_more_of_either_is_never_less_load(calls: int, max_calls: int, pressure: float) -> None:
    load = load_of(calls, max_calls, pressure)
    assert load <= load_of(calls + 1, max_calls, pressure)
    assert load <= load_of(calls, max_calls, pressure + 0.1)


def test_the_pressure_is_measured_over_a_second_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    now, spent = 0.0, (0.0, 0.0)
    monkeypatch.setattr("mindbot_worker.runtime.capacity._cpu_seconds", lambda: spent)
    pressure = HostPressure(clock=lambda: now)
    now, spent = 0.5, (1.0, 1.0)
    assert pressure() == 0
    now, spent = 1.0, (1.0, 4.0)
    assert pressure() == 0.25
    now, spent = 2.0, (1.0, 4.0)
    assert pressure() == 0.25, "no time went by in which to measure"


def test_a_quota_that_is_used_up_is_pressure_though_the_host_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two CPUs of a host with 64."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/a\n")
    group = tmp_path / "a"
    group.mkdir()
    (group / "cpu.max").write_text("200000 100000\n")
    stat = group / "cpu.stat"
    stat.write_text("usage_usec 1000000\n")
    now, spent = 0.0, (0.0, 0.0)
    monkeypatch.setattr("mindbot_worker.runtime.capacity._cpu_seconds", lambda: spent)
    pressure = HostPressure(clock=lambda: now, mounts=Mounts(v2=Mount("/", tmp_path), proc=tmp_path))
    now, spent = 2.0, (4.0, 128.0)
    stat.write_text("usage_usec 4000000\n")
    assert pressure() == 0.75
    now, spent = 4.0, (132.0, 256.0)
    assert pressure() == 1.0, "the host counts where it has less left"
    now, spent = 6.0, (132.0, 384.0)
    stat.unlink()
    assert pressure() == 0.0


@pytest.mark.parametrize(("cores", "workers", "each"), [(2, 4, 1), (8, 4, 2), (9, 4, 3), (1, 1, 1), (16, 1, 16)])
def test_idle_processes_share_the_cores(cores: int, workers: int, each: int) -> None:
    assert idle_processes(cores, workers) == each


def test_processes_that_fail_to_start_are_started_ever_more_slowly() -> None:
    assert [backoff(failures) for failures in (1, 2, 3, 4, 5, 6, 7, 1000)] == [0, 0, 1, 2, 4, 8, 10, 10]
