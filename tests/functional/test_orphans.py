"""Who belongs to which worker is decided by descent: whatever a process calls itself, it ends with what started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from functional.daemon import DEADLINE, Daemon, stub

FAST = {"MINDBOT_LIMITS__CHECK_INTERVAL": "0.2", "MINDBOT_LIMITS__BEAT_INTERVAL": "0.2"}
BEATING = {**FAST, "MINDBOT_WORKER__HEARTBEAT": "required"}


def sleeping(seconds: str) -> list[psutil.Process]:
    """Every `sleep` on this host with exactly this argument."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == ["sleep", seconds] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def seconds():
    """A time to sleep for that no other test on this machine uses; whatever still sleeps for it is ended."""
    mine = f"{1000 + os.getpid() % 1000}.{time.monotonic_ns() % 10**9:09}"
    yield mine
    for process in sleeping(mine):
        process.kill()


def gone(seconds: str, count: int = 0) -> bool:
    until = time.monotonic() + DEADLINE
    while len(sleeping(seconds)) > count and time.monotonic() < until:
        time.sleep(0.1)
    return len(sleeping(seconds)) == count


def escaping(seconds: str, redirect: str = "") -> list[str]:
    """A worker whose grandchild leaves session, process group, parent and environment behind."""
    return ["--command", f"sh -c 'env -i setsid -f sleep {seconds} {redirect}; exec sleep 1022'"]


@pytest.mark.parametrize("redirect", ["", "</dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-"])
def test_what_left_everything_behind_ends_with_the_pool_and_that_is_told(tmp_path, seconds, redirect):
    with Daemon(tmp_path, "--workers", "1", *escaping(seconds, redirect), environ=FAST) as daemon:
        daemon.ready(1)
        daemon.until(lambda: sleeping(seconds))
        pid = sleeping(seconds)[0].pid
        assert daemon.client("stop").returncode == 0
        assert daemon.end() == 0
        assert gone(seconds)
        told = daemon.wait("orphan.ended")
        assert told["process"] == pid
        assert told["name"] == "sleep"


@pytest.mark.parametrize("redirect", ["", "</dev/null >/dev/null 2>&1"])
def test_there_is_not_one_more_of_them_after_each_restart(tmp_path, seconds, redirect):
    with Daemon(tmp_path, "--workers", "1", *escaping(seconds, redirect), environ=FAST) as daemon:
        daemon.ready(1)
        for turn in range(1, 4):
            daemon.until(lambda: sleeping(seconds))
            daemon.until(lambda turn=turn: daemon.worker(f"0.{turn}")["processes"] == 2)  # it has been seen
            before = sleeping(seconds)
            assert len(before) == 1
            os.kill(daemon.worker(f"0.{turn}")["pid"], signal.SIGKILL)
            daemon.wait("orphan.ended", worker=f"0.{turn}", process=before[0].pid)
            daemon.wait("worker.ready", worker=f"0.{turn + 1}")
            daemon.until(lambda before=before: not before[0].is_running())
        assert daemon.terminate() == 0
        assert gone(seconds)


def test_with_several_workers_the_siblings_orphans_live_on(tmp_path, seconds):
    with Daemon(tmp_path, "--workers", "3", *escaping(seconds), environ=FAST) as daemon:
        daemon.ready(3)
        daemon.until(lambda: len(sleeping(seconds)) == 3)
        daemon.until(
            lambda: [row["processes"] for row in daemon.status()["workers"]] == [2, 2, 2]
        )  # they have been seen
        pids = {process.pid for process in sleeping(seconds)}
        os.kill(daemon.worker("1.1")["pid"], signal.SIGKILL)
        ended = daemon.wait("orphan.ended", worker="1.1")
        daemon.wait("worker.ready", worker="1.2")
        daemon.until(lambda: len(sleeping(seconds)) == 3)
        daemon.until(lambda: (daemon.worker("1.2") or {}).get("processes") == 2)
        assert {process.pid for process in sleeping(seconds)} & pids == pids - {ended["process"]}
        assert daemon.terminate() == 0
        assert gone(seconds)
        assert len(daemon.events("orphan.ended")) == 4


IMPOSTOR = """
import ctypes, os, time
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
ctypes.CDLL(None).prctl(15, b"mb 0.1 job", 0, 0, 0)
hoard = bytearray(os.urandom(1024)) * (150 * 1024)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_stranger_that_calls_itself_a_job_process_of_a_worker_counts_for_nothing(tmp_path):
    limits = {"MINDBOT_LIMITS__MEMORY_SOFT_MB": "90", "MINDBOT_LIMITS__MEMORY_HARD_MB": "100"}
    with Daemon(tmp_path, "--workers", "1", *stub(), environ={**BEATING, **limits}) as daemon:
        daemon.ready(1)
        environ = {**os.environ, "MINDBOT_RUNTIME_DIR": str(daemon.runtime_dir), "MINDBOT_WORKER_NAME": "0.1"}
        command = [sys.executable, "-c", IMPOSTOR]
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as stranger:
            try:
                assert stranger.stdout.readline() == "ready\n"
                seen = daemon.worker("0.1")["uptime"]
                daemon.until(lambda: daemon.worker("0.1")["uptime"] > seen + 8)
                row = daemon.worker("0.1")
                assert row["processes"] == 1
                assert row["pss_mb"] < 90
                assert daemon.terminate() == 0
                assert stranger.poll() is None
            finally:
                stranger.kill()


CLAIMS = """
import json, os, signal, sys, time
fd, name = int(os.environ["MINDBOT_HEARTBEAT_FD"]), os.environ["MINDBOT_WORKER_NAME"]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
claimed, seq = [int(word) for word in sys.argv[1:]], 0
while True:
    seq += 1
    calls = [{"room": f"r{pid}", "job": f"{name}-{pid}", "pid": pid} for pid in claimed]
    os.write(fd, json.dumps({"v": 1, "seq": seq, "state": "ready", "pids": claimed, "calls": calls}).encode() + b"\\n")
    time.sleep(0.2)
"""


def test_a_worker_that_claims_the_pid_of_a_stranger_does_not_get_it_killed(tmp_path):
    script = tmp_path / "claims.py"
    script.write_text(CLAIMS)
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        command = f"{sys.executable} {script} {stranger.pid} {os.getpid()}"
        with Daemon(tmp_path, "--workers", "1", "--command", command, environ=BEATING) as daemon:
            daemon.ready(1)
            daemon.until(lambda: (daemon.worker("0.1") or {}).get("processes") == 1)
            os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
            daemon.wait("worker.ready", worker="0.2")
            assert daemon.client("stop", "--now").returncode == 0
            assert daemon.end() == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_worker_that_claims_its_siblings_process_does_not_get_it_killed(tmp_path):
    """Two exec'd workers, each a shell with a child of its own; one names the other's child as its own."""
    script = tmp_path / "claims.py"
    script.write_text(CLAIMS)
    with Daemon(tmp_path, "--workers", "1", "--command", "sh -c 'sleep 1023; true'", environ=FAST) as first:
        first.ready(1)
        child = first.until(lambda: psutil.Process(first.worker("0.1")["pid"]).children())[0]
        folder = tmp_path / "second"
        folder.mkdir()
        command = f"{sys.executable} {script} {child.pid}"
        with Daemon(folder, "--workers", "1", "--command", command, environ=BEATING) as second:
            second.ready(1)
            os.kill(second.worker("0.1")["pid"], signal.SIGKILL)
            second.wait("worker.ready", worker="0.2")
            assert second.terminate() == 0
        assert child.is_running()
        assert first.worker("0.1")["processes"] == 2
        assert first.terminate() == 0
        assert not Path(f"/proc/{child.pid}").exists() or child.status() == psutil.STATUS_ZOMBIE


def test_what_the_shell_started_that_became_the_daemon_is_left_alone(tmp_path, seconds, monkeypatch):
    """`sidecar & exec mindbot-supervisor`, as an entry point of a container has it."""
    entry = tmp_path / "entry"
    entry.write_text(f'#!/bin/sh\nsleep {seconds} >/dev/null 2>&1 &\nexec {sys.executable} "$@"\n')
    entry.chmod(0o755)
    with monkeypatch.context() as context:
        context.setattr(sys, "executable", str(entry))
        daemon = Daemon(tmp_path, "--workers", "1", "--command", "sleep 1024", environ=FAST)
    with daemon:
        daemon.ready(1)
        (sidecar,) = sleeping(seconds)
        assert sidecar.ppid() == daemon.process.pid
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.terminate() == 0
        assert sidecar.is_running()
        assert not daemon.events("orphan.ended")


ESCAPE = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(3, 256)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.execve("/bin/sleep", ["sleep", sys.argv[1]], {})
    os._exit(0)
os.wait()
os.execvp("sleep", ["sleep", "1022"])
"""


def test_what_let_go_of_everything_ends_once_all_that_could_have_started_it_is_gone(tmp_path, seconds):
    script = tmp_path / "escape.py"
    script.write_text(ESCAPE)
    slow = {"MINDBOT_LIMITS__CHECK_INTERVAL": "5"}
    command = f"{sys.executable} -S -E {script} {seconds}"
    with Daemon(tmp_path, "--workers", "1", "--command", command, environ=slow) as daemon:
        daemon.ready(1)
        (first,) = daemon.until(lambda: sleeping(seconds))
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        assert daemon.wait("orphan.ended", process=first.pid)["worker"] == "0.1"
        daemon.wait("worker.ready", worker="0.2")
        daemon.until(lambda: sleeping(seconds))
        assert daemon.terminate() == 0
        assert gone(seconds)


def test_an_orphan_is_still_its_workers_after_an_upgrade(tmp_path, seconds):
    with Daemon(tmp_path, "--workers", "1", *escaping(seconds), environ=FAST) as daemon:
        daemon.ready(1)
        (orphan,) = daemon.until(lambda: sleeping(seconds))
        daemon.until(lambda: (daemon.worker("0.1") or {}).get("processes") == 2)
        assert daemon.client("upgrade", timeout=60).returncode == 0
        daemon.wait("supervisor.upgraded")
        daemon.until(lambda: (daemon.worker("0.1") or {}).get("processes") == 2)
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("orphan.ended", worker="0.1", process=orphan.pid)
        assert daemon.terminate() == 0
        assert gone(seconds)


def test_an_orphan_of_a_dead_daemons_worker_ends_with_it(tmp_path, seconds):
    with Daemon(tmp_path, "--workers", "1", *escaping(seconds), environ=FAST) as first:
        first.ready(1)
        (orphan,) = first.until(lambda: sleeping(seconds))
        record = first.runtime_dir / "workers" / "0.1.json"
        first.until(lambda: str(orphan.pid) in record.read_text())
        first.process.kill()
        first.process.wait(DEADLINE)
        with Daemon(tmp_path, "--workers", "1", "--command", "sleep 1024", environ=FAST) as second:
            second.wait("orphan.ended", worker="0.1", process=orphan.pid)
            second.ready(1)
            assert second.terminate() == 0
        assert gone(seconds)
