"""A job process that stops beating under a live call is told with its stack, and killed where it stays silent."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from functional.daemon import Daemon
from functional.twirp import KEY, SECRET, serving

STUB = Path(__file__).with_name("stub_jobs.py")
QUICK = {
    "MINDBOT_LIMITS__BEAT_INTERVAL": "0.2",
    "MINDBOT_LIMITS__CHECK_INTERVAL": "0.2",
    "MINDBOT_LIMITS__SUSPECT_AFTER": "2",
    "MINDBOT_LIMITS__HUNG_AFTER": "6",
    "MINDBOT_WORKER__HEARTBEAT": "required",
}


def pool(folder: Path, *words: str, workers: int = 2, **environ: str) -> Daemon:
    command = " ".join([sys.executable, str(STUB), *words])
    return Daemon(folder, "--workers", str(workers), "--command", command, environ={**QUICK, **environ})


def job_of(daemon: Daemon, room: str) -> dict:
    calls = [call for row in daemon.status()["workers"] for call in row["calls"]]
    return next((call for call in calls if call["room"] == room), {})


@pytest.mark.parametrize(("habit", "function"), [("sleeping", "sleeping"), ("in_c", "in_c"), ("spinning", "spinning")])
def test_a_blocked_job_is_told_with_file_and_line_killed_and_its_call_recovered(tmp_path, habit, function):
    with pool(tmp_path, f"{habit}@0.1") as daemon:
        stalled = daemon.wait("call.stalled", room="0.1-r0")
        assert (stalled["worker"], stalled["level"], stalled["limit"]) == ("0.1", "warning", 2.0)
        assert f"in {function}" in stalled["stack"]
        assert stalled["stack"].startswith(("Current thread", "Thread"))
        assert stalled["where"].startswith(str(STUB))
        assert stalled["where"].endswith(f"in {function}")
        killed = job_of(daemon, "0.1-r0")["pid"]
        assert killed == stalled["process"]
        shown, explained = daemon.client("status").stdout, daemon.client("explain", "0").stdout
        hung = daemon.wait("call.hung", room="0.1-r0")
        assert (hung["limit"], hung["process"], hung["level"]) == (6.0, killed, "error")
        assert f"in {function}" in hung["stack"]
        lost = daemon.wait("call.lost", room="0.1-r0")
        assert lost["outcome"] == "killed"
        assert not psutil.pid_exists(killed)
        assert daemon.worker("0.1")["phase"] == "ready", "its worker and the other call go on"
        assert job_of(daemon, "0.1-r1")["stalled"] is None
        assert [record["room"] for record in daemon.events("call.stalled")] == ["0.1-r0"]
        assert not daemon.events("worker.suspect")
        assert not daemon.events("host.stalled")
        note = next(line for line in shown.splitlines() if line.startswith("0.1"))
        assert "1 call silent for" in note
        assert function in note
        assert f"stalled: call 0.1-r0: its process {killed} is in " in explained
        assert "nothing against it" not in explained
        assert "next: in " in explained and f"process {killed} of call 0.1-r0 is killed" in explained
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.end() == 0
        assert daemon.left_behind() == []


def test_a_stopped_job_is_killed_as_soon_as_it_is_suspect(tmp_path):
    with pool(tmp_path, MINDBOT_LIMITS__HUNG_AFTER="60") as daemon:
        pid = daemon.until(lambda: job_of(daemon, "0.1-r0").get("pid"))
        os.kill(pid, signal.SIGSTOP)
        stalled = daemon.wait("call.stalled", room="0.1-r0")
        assert "stopped (state T)" in stalled["detail"]
        assert daemon.wait("call.hung")["value"] < 20, "and not only after a minute"
        daemon.wait("call.lost", room="0.1-r0", outcome="killed")
        assert daemon.worker("0.1")["phase"] == "ready"


def test_a_short_stall_is_told_and_so_is_its_end_with_the_seconds(tmp_path):
    with pool(tmp_path, "sleeping@0.1", STUB_BLOCK="4") as daemon:
        daemon.wait("call.stalled", room="0.1-r0")
        resumed = daemon.wait("call.resumed", room="0.1-r0")
        assert 3.5 < resumed["seconds"] < 10
        daemon.until(lambda: job_of(daemon, "0.1-r0")["stalled"] is None)
        assert "nothing against it" in daemon.client("explain", "0").stdout
        assert not daemon.events("call.hung")


def test_one_that_cannot_write_its_stack_is_told_without_and_killed_all_the_same(tmp_path):
    with pool(tmp_path, "deaf@0.1") as daemon:
        stalled = daemon.wait("call.stalled", room="0.1-r0")
        assert "stack" not in stalled
        assert "wrote no stack" in stalled["detail"]
        daemon.wait("call.hung", room="0.1-r0")
        daemon.wait("call.lost", room="0.1-r0")


def test_a_worker_that_names_the_pid_of_somebody_else_gets_nobody_killed(tmp_path):
    lies = ("pid_of_itself", "pid_of_the_daemon", "pid_of_a_sibling", "pid_of_a_stranger")
    words = [f"{lie}@{slot}" for slot, lie in enumerate(lies)]
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        with pool(tmp_path, *words, workers=4, STUB_STRANGER=str(stranger.pid)) as daemon:
            for slot in range(4):
                hung = daemon.wait("call.hung", room=f"{slot}.1-r0")
                assert f"is no job process of worker {slot}.1: it was left alone" in hung["detail"]
            assert stranger.poll() is None
            assert {row["worker"] for row in daemon.status()["workers"]} == {"0.1", "1.1", "2.1", "3.1"}
            assert not daemon.events("worker.exited")
            assert daemon.process.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_the_caller_of_a_hung_job_gets_a_new_agent(tmp_path):
    async with serving() as twirp:
        twirp.call("0.1-r0", "0.1-j0")
        livekit = {"LIVEKIT_URL": twirp.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        with pool(tmp_path, "sleeping@0.1", **livekit) as daemon:
            recovering = await asyncio.to_thread(daemon.wait, "call.recovering", room="0.1-r0")
            assert recovering["reason"] == "hung"
            recovered = await asyncio.to_thread(daemon.wait, "call.recovered", room="0.1-r0")
            assert recovered["identity"] in twirp.agents("0.1-r0")
            calls = (await asyncio.to_thread(daemon.status))["calls"]
            assert (calls["recovered"], calls["lost"]) == (1, 0)


# -- frozen ------------------------------------------------------------------------------------------------------------


def family(daemon: Daemon) -> list[psutil.Process]:
    """The daemon, then all that it runs."""
    own = psutil.Process(daemon.process.pid)
    return [own, *own.children(recursive=True)]


def signalled(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def frozen(processes: list[psutil.Process], seconds: float) -> None:
    signalled(processes, signal.SIGSTOP)
    threading.Event().wait(seconds)
    signalled(processes, signal.SIGCONT)


@pytest.mark.parametrize("order", ["the daemon first", "the daemon last"])
def test_daemon_and_workers_that_were_frozen_together_are_nobodys_fault(tmp_path, order):
    with pool(tmp_path) as daemon:
        daemon.ready(2)
        daemon.until(lambda: job_of(daemon, "1.1-r1"))
        processes = family(daemon)
        frozen(processes if order == "the daemon first" else processes[::-1], 15)
        stalled = daemon.wait("host.stalled")
        assert stalled["seconds"] > 10
        assert "the supervisor itself did not run" in stalled["detail"]
        daemon.until(lambda: len(daemon.status()["workers"]) == 2)
        threading.Event().wait(8)  # as long as it would take for somebody to be killed
        for event in ("worker.killing", "worker.exited", "call.hung", "call.lost", "call.stalled"):
            assert not daemon.events(event), event
        assert {row["worker"] for row in daemon.status()["workers"]} == {"0.1", "1.1"}


def test_all_workers_frozen_beside_a_daemon_that_runs_are_not_hung_at_once(tmp_path):
    with pool(tmp_path, workers=3) as daemon:
        daemon.ready(3)
        workers = family(daemon)[1:]
        signalled(workers, signal.SIGSTOP)
        stalled = daemon.wait("host.stalled")
        assert "3 of 3 processes fell silent at the same time" in stalled["detail"]
        threading.Event().wait(3)
        signalled(workers, signal.SIGCONT)
        threading.Event().wait(3)
        assert not daemon.events("worker.killing")
        assert not daemon.events("call.hung")
        daemon.ready(3)


def test_a_worker_stopped_with_all_its_jobs_is_hung_and_only_that_one(tmp_path):
    with pool(tmp_path, workers=2) as daemon:
        daemon.ready(2)
        root = psutil.Process(daemon.worker("0.1")["pid"])
        tree = [root, *root.children(recursive=True)]
        signalled(tree, signal.SIGSTOP)
        assert daemon.wait("worker.killing")["worker"] == "0.1"
        exited = daemon.wait("worker.exited", worker="0.1")
        assert (exited["verdict"], exited["reason"], exited["calls"]) == ("killed", "hung", 2)
        daemon.wait("worker.ready", worker="0.2")
        assert not daemon.events("call.hung")
        assert not daemon.events("host.stalled")
        daemon.until(lambda: not any(process.is_running() for process in tree))


def test_a_suspect_worker_is_explained_before_it_is_killed(tmp_path):
    with pool(tmp_path, workers=2, MINDBOT_LIMITS__HUNG_AFTER="20") as daemon:
        daemon.ready(2)
        os.kill(daemon.worker("1.1")["pid"], signal.SIGSTOP)
        daemon.wait("worker.suspect", worker="1.1")
        status, explained = daemon.client("status").stdout, daemon.client("explain", "1").stdout
        os.kill(daemon.worker("1.1")["pid"], signal.SIGCONT)
        rows = [line.split()[0] for line in status.splitlines() if line[:1].isdigit() and "." in line.split()[0]]
        assert rows == ["1.1", "0.1"], "who is in trouble comes first"
        assert "suspect: no heartbeat for" in status
        assert "found: silent for" in explained and "(suspect after 2)" in explained
        assert "next: in " in explained and "hung and killed" in explained
        assert "nothing against it" not in explained
        daemon.wait("worker.ready", worker="1.1", detail="heard again")


def test_a_worker_with_a_thousand_silent_calls_costs_its_siblings_and_the_daemon_nothing(tmp_path):
    with pool(tmp_path, "many@0.1", workers=2, MINDBOT_LIMITS__HUNG_AFTER="600") as daemon:
        daemon.wait("call.stalled", worker="0.1")
        own = psutil.Process(daemon.process.pid)
        before = own.cpu_times()
        threading.Event().wait(5)
        after = own.cpu_times()
        assert sum(after[:2]) - sum(before[:2]) < 2.5, "half of a core at most, with all that is logged of it once"
        assert daemon.worker("1.1")["phase"] == "ready"
        assert not daemon.events("worker.suspect", worker="1.1")
