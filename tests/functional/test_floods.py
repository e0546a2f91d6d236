"""One worker that floods the daemon with heartbeats: it costs little, nothing grows by it, and no sibling notices."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from functional.daemon import Daemon

FLOODER = Path(__file__).with_name("flooder.py")
SECONDS = 8.0
SHARE = 0.10
"""Of one core that the flood may cost the daemon."""
GROWTH = 10 * 1024 * 1024
RECORDS = 450
"""Told of the flooding worker in that time: 200 calls that started and 200 that ended, and little else."""
ENVIRON = {"MINDBOT_WORKER__HEARTBEAT": "required", "MINDBOT_LIMITS__MAX_ERRORS": "1000000000"}
"""It may make errors: it is to flood for as long as the test takes."""


def flooded(folder: Path, kind: str, **environ: str) -> Daemon:
    command = f"{sys.executable} {FLOODER} {kind}"
    return Daemon(folder, "--workers", "3", "--command", command, environ={**ENVIRON, **environ})


class Cost:
    """CPU seconds, memory and records of the daemon from now on."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self._process = daemon, psutil.Process(daemon.process.pid)
        self._cpu, self._at, self._records = self._used(), time.monotonic(), len(daemon.records)
        self._rss = self._process.memory_info().rss

    def _used(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def share(self) -> float:
        return (self._used() - self._cpu) / (time.monotonic() - self._at)

    def growth(self) -> int:
        return self._process.memory_info().rss - self._rss

    def records(self, worker: str) -> int:
        return len([each for each in self._daemon.records[self._records :] if each.get("worker", "")[:2] == worker])


def until(daemon: Daemon, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.5)
        assert daemon.process.poll() is None, daemon.errors


@pytest.mark.parametrize("kind", ["beats", "calls", "kinds", "ends", "flaps", "garbage"])
def test_a_flooding_worker_costs_little_and_its_siblings_nothing(tmp_path, kind):
    patient = {"MINDBOT_LIMITS__BEATS_REJECTED_MAX": "1000000000"}
    with flooded(tmp_path, kind, **patient) as daemon:
        daemon.ready(2)
        until(daemon, 2.0)  # what is bounded has filled up to its bound
        cost = Cost(daemon)
        until(daemon, SECONDS)
        assert (share := cost.share()) < SHARE, f"{share:.0%} of a core"
        assert cost.growth() < GROWTH
        assert cost.records("0.") < RECORDS
        status = daemon.status()
        rows = {row["worker"]: row for row in status["workers"]}
        assert [rows[name]["phase"] for name in ("1.1", "2.1")] == ["ready", "ready"]
        assert not daemon.events("worker.suspect", worker="1.1")
        assert len(rows["0.1"]["errors_by"]) <= 33 + 11
        assert len(status.get("usage", {})) <= 65
        assert not [line for line in daemon.stray if "Traceback" in line]


def test_beats_that_were_passed_over_are_told_once(tmp_path):
    with flooded(tmp_path, "beats") as daemon:
        told = daemon.wait("beat.dropped", worker="0.1")
        assert told["value"] > 0
        until(daemon, 3.0)
        assert len(daemon.events("beat.dropped")) == 1
        assert daemon.worker("0.1")["phase"] == "ready"


def test_a_flood_of_garbage_still_makes_its_worker_broken(tmp_path):
    with flooded(tmp_path, "garbage") as daemon:
        daemon.wait("worker.draining", worker="0.1", reason="broken")
        daemon.wait("worker.ready", worker="0.2")
        assert len(daemon.events("beat.rejected", worker="0.1")) < 20


def test_calls_that_one_worker_invents_are_counted_and_their_number_is_told(tmp_path):
    with flooded(tmp_path, "calls") as daemon:
        told = daemon.wait("event.dropped", worker="0.1")
        assert told["counts"]["call.started"] > 100
        daemon.ready(3)
