"""A real daemon and real workers with bad habits: what it makes of each, and what it leaves alone."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from functional.daemon import Daemon, stub

FAST = {"MINDBOT_LIMITS__SUSPECT_AFTER": "1", "MINDBOT_LIMITS__BEAT_INTERVAL": "0.2", "MINDBOT_LIMITS__HUNG_AFTER": "2"}
FAST |= {"MINDBOT_LIMITS__CHECK_INTERVAL": "0.2", "MINDBOT_WORKER__HEARTBEAT": "required"}

# habit, extra settings, what is logged of slot 0
HABITS = [
    ("crash", {}, ("worker.exited", {"verdict": "crashed", "code": 3})),
    ("exit_0", {}, ("worker.exited", {"verdict": "crashed", "code": 0})),
    ("segv", {}, ("worker.exited", {"verdict": "signal", "signal": "SIGSEGV"})),
    ("hang", {}, ("worker.exited", {"verdict": "killed", "reason": "hung"})),
    ("hang_c", {}, ("worker.exited", {"verdict": "killed", "reason": "hung"})),
    ("stop", {}, ("worker.exited", {"verdict": "killed", "reason": "hung"})),
    (
        "leak",
        {"MINDBOT_LIMITS__MEMORY_SOFT_MB": "90", "MINDBOT_LIMITS__MEMORY_HARD_MB": "100"},
        ("worker.exited", {"verdict": "killed", "reason": "memory"}),
    ),
    ("errors", {}, ("worker.exited", {"verdict": "asked", "reason": "errors"})),
    ("unregistered", {"MINDBOT_LIMITS__REGISTER_TIMEOUT": "1"}, ("worker.exited", {"reason": "unregistered"})),
    ("only_garbage", {"MINDBOT_LIMITS__BEATS_REJECTED_MAX": "5"}, ("worker.draining", {"reason": "broken"})),
]


def ignores_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(("habit", "settings", "expected"), HABITS, ids=[habit for habit, *_ in HABITS])
def test_a_bad_worker_is_replaced_and_its_siblings_are_untouched(tmp_path, habit, settings, expected):
    event, fields = expected
    with Daemon(tmp_path, "--workers", "3", *stub(f"{habit}@0.1"), environ={**FAST, **settings}) as daemon:
        daemon.wait(event, worker="0.1", **fields)
        daemon.wait("worker.ready", worker="0.2")
        asked = time.monotonic()
        answer = daemon.client("status", "--json")
        took = time.monotonic() - asked
        status = json.loads(answer.stdout)
        assert {"1.1", "2.1"} <= {row["worker"] for row in status["workers"] if row["phase"] == "ready"}
        assert took < 10, "an answer comes, whatever a worker does"
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.end() == 0
        assert not daemon.stray, "every line is JSON"
        assert {record["worker"] for record in daemon.events("worker.exited", slot=1)} == {"1.1"}
        assert daemon.left_behind() == []


def test_a_blocked_loop_and_a_stopped_process_are_told_apart(tmp_path):
    with Daemon(tmp_path, "--workers", "3", *stub("hang@0.1", "stop@1.1"), environ=FAST) as daemon:
        blocked = daemon.wait("worker.killing", worker="0.1")
        stopped = daemon.wait("worker.killing", worker="1.1")
        assert "event loop is blocked" in blocked["detail"]
        assert "whole process is silent" in stopped["detail"]
        daemon.wait("worker.stack", worker="1.1")
        daemon.ready(3)
        daemon.client("stop", "--now")
        daemon.end()


@pytest.mark.parametrize("habit", ["garbage", "flood", "print_json", "slow_boot", "daemonise"])
def test_a_nuisance_is_no_reason_to_replace_a_worker(tmp_path, habit):
    with Daemon(tmp_path, "--workers", "3", *stub(f"{habit}@0.1"), environ=FAST) as daemon:
        daemon.ready(3)
        noticed = {"garbage": "beat.rejected", "flood": "output.dropped", "print_json": "user.speech"}
        if habit in noticed:
            assert daemon.wait(noticed[habit], worker="0.1")["slot"] == 0
        if habit == "daemonise":
            daemon.until(lambda: (daemon.worker("0.1") or {}).get("processes") == 2)
        assert {row["worker"] for row in daemon.status()["workers"]} == {"0.1", "1.1", "2.1"}
        assert daemon.client("stop").returncode == 0
        assert daemon.end() == 0
        assert not daemon.stray
        assert daemon.left_behind() == [], "not even a grandchild in a session of its own"


def test_a_worker_cannot_speak_for_another(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("print_json@0.1"), environ=FAST) as daemon:
        record = daemon.wait("user.speech")
        assert (record["worker"], record["slot"], record["level"]) == ("0.1", 0, "warning")
        assert daemon.wait("worker.output")["text"] == "stray text, no JSON"


def test_a_worker_that_ignores_sigterm_is_killed_at_its_deadline(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub("ignore_term@0.1"), environ=FAST) as daemon:
        daemon.ready(2)
        daemon.until(lambda: ignores_sigterm(daemon.worker("0.1")["pid"]))
        assert daemon.terminate(timeout=60) == 0
        assert daemon.wait("worker.killing", worker="0.1")["reason"] == "drain_timeout"
        assert daemon.events("worker.exited", worker="1.1", verdict="asked")
        assert daemon.left_behind() == []


def test_sigterm_lets_calls_finish_and_a_second_one_does_not(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("--calls", "2", "--call-seconds", "4"), environ=FAST) as daemon:
        daemon.wait("call.started", room="0.1-r1")
        assert daemon.terminate() == 0
        assert len(daemon.events("call.ended")) == 2
        assert daemon.events("call.lost") == []
    with Daemon(tmp_path, "--workers", "1", *stub("--calls", "2"), environ=FAST) as daemon:
        daemon.wait("call.started", room="0.1-r1")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait("worker.draining")
        assert daemon.terminate() == 0
        assert len(daemon.events("call.lost", reason="killed")) == 2
        assert daemon.left_behind() == []


def test_calls_of_a_worker_that_is_killed_from_outside_are_reported_lost(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub("--calls", "2"), environ=FAST) as daemon:
        daemon.wait("call.started", room="0.1-r1")
        daemon.ready(2)
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        exited = daemon.wait("worker.exited", worker="0.1")
        assert (exited["verdict"], exited["signal"], exited["calls"]) == ("signal", "SIGKILL", 2)
        assert {record["room"] for record in daemon.events("call.lost")} <= {"0.1-r0", "0.1-r1"}
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.status()["calls"]["lost"] == 2
        assert daemon.worker("1.1")["phase"] == "ready"


def test_a_hung_worker_with_a_call_is_killed_only_behind_its_replacement(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("--calls", "1", "hang@0.1"), environ=FAST) as daemon:
        exited = daemon.wait("worker.exited", worker="0.1", verdict="killed")
        order = [(record["event"], record["worker"]) for record in daemon.records if record.get("worker")]
        assert order.index(("worker.ready", "0.2")) < order.index(("worker.exited", "0.1"))
        assert exited["calls"] == 1


def test_a_soft_reason_is_answered_behind_a_replacement(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("inactive@0.1"), environ=FAST) as daemon:
        daemon.wait("worker.draining", worker="0.1", reason="inactive")
        order = [(record["event"], record.get("worker")) for record in daemon.records]
        assert order.index(("worker.ready", "0.2")) < order.index(("worker.draining", "0.1"))
        warned = daemon.events("limit.warned", worker="0.1")[0]
        assert (warned["reason"], warned["limit"]) == ("inactive", 300.0)
        assert "quiet" in warned["detail"]


def test_any_program_can_be_supervised_without_heartbeats(tmp_path):
    with Daemon(tmp_path, "--workers", "2", "--command", "sleep 3600") as daemon:
        daemon.ready(2)
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.client("stop").returncode == 0
        assert daemon.end() == 0
        assert daemon.left_behind() == []


def test_a_program_that_is_gone_is_reported_and_tried_again(tmp_path):
    """One that was never there ends the start: test_bad_command.py."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o700)
    with Daemon(tmp_path, "--workers", "1", "--command", str(program)) as daemon:
        daemon.ready(1)
        program.unlink()
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        exited = daemon.wait("worker.exited", worker="0.2")
        assert exited["detail"] == f"cannot start {program}: there is no {program}"
        daemon.wait("slot.backoff")
        assert daemon.terminate() == 0


def test_the_reader_of_the_log_may_go_away(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("flood@0.1"), environ=FAST) as daemon:
        daemon.ready(1)
        daemon.process.stdout.close()
        daemon.until(lambda: (daemon.worker("0.1") or {}).get("uptime", 0) > 3)
        assert daemon.worker("0.1")["phase"] == "ready"
        assert daemon.terminate() == 0
        assert daemon.left_behind() == []
