"""What the daemon does all the time: when it fails that is told, shown, tried again, and never taken for health."""

import json
import os
import resource
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from functional.daemon import DEADLINE, Daemon, stub

FAST = {"MINDBOT_LIMITS__CHECK_INTERVAL": "0.2", "MINDBOT_LIMITS__BEAT_INTERVAL": "0.2"}
LIMITS = {"MINDBOT_LIMITS__MEMORY_SOFT_MB": "90", "MINDBOT_LIMITS__MEMORY_HARD_MB": "100"}

LEAKS = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
hoard = []
while True:
    hoard.append(bytearray(os.urandom(1024) * 1024))
    time.sleep(0.02)
"""

BREAKABLE = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("psutil", {init!r}, submodule_search_locations=[{folder!r}])
real = sys.modules["psutil"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
pids = real.pids
def broken_or_pids():
    if os.path.exists({flag!r}):
        raise RuntimeError("psutil is not itself today")
    return pids()
real.pids = broken_or_pids
"""


def lowest_free_descriptor(pid: int) -> int:
    taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def test_memory_limits_act_again_once_there_are_descriptors_again(tmp_path):
    script, flag = tmp_path / "leaks.py", tmp_path / "leak"
    script.write_text(LEAKS)
    command = f"{sys.executable} {script} {flag}"
    with Daemon(tmp_path, "--workers", "1", "--command", command, environ={**FAST, **LIMITS}) as daemon:
        daemon.ready(1)
        daemon.until(lambda: (daemon.worker("0.1") or {}).get("pss_mb"))
        before = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        few = lowest_free_descriptor(daemon.process.pid)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (few, before[1]))
        try:
            failed = daemon.wait("supervisor.activity_failed", name="sampler")
            assert "Too many open files" in failed["error"]
            assert failed["retry_in"] > 0
            flag.touch()
            number = len(daemon.records)
            daemon.wait("supervisor.activity_failed", name="sampler", after=number)
            assert not daemon.events("worker.exited"), "nobody is taken for dead because it could not be seen"
        finally:
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, before)
        daemon.wait("supervisor.activity_recovered", name="sampler")
        assert daemon.wait("worker.killing", worker="0.1")["reason"] == "memory"
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.status()["supervisor"]["unhealthy"] == []
        flag.unlink()
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.end() == 0
        assert daemon.left_behind() == []


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


@pytest.fixture
def systemd(tmp_path):
    """A socket as systemd has one, and what is said to it."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(DEADLINE)
        yield path, heard


def hear(heard: socket.socket, seconds: float) -> list[str]:
    """What comes within so many seconds."""
    said, until = [], time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        heard.settimeout(left)
        try:
            said.append(heard.recv(4096).decode())
        except TimeoutError:
            break
    return said


def test_a_sampler_that_fails_is_told_shown_and_not_vouched_for_to_systemd(tmp_path, systemd):
    path, heard = systemd
    flag = tmp_path / "broken"
    place = Path(psutil.__file__)
    (tmp_path / "modules").mkdir()
    code = BREAKABLE.format(init=str(place), folder=str(place.parent), flag=str(flag))
    (tmp_path / "modules" / "psutil.py").write_text(code)
    environ = {
        **FAST,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path / "modules"), os.environ.get("PYTHONPATH")])),
        "NOTIFY_SOCKET": str(path),
        "WATCHDOG_USEC": "2000000",
        "MINDBOT_WORKER__HEARTBEAT": "required",
    }
    with Daemon(tmp_path, "--workers", "1", *stub(), "--http", "127.0.0.1:0", environ=environ) as daemon:
        address = daemon.wait("http.listening")["address"]
        daemon.ready(1)
        daemon.until(lambda: get(f"http://{address}/readyz") == (200, "ready\n"))
        assert "WATCHDOG=1" in hear(heard, 5)

        flag.touch()
        failed = daemon.wait("supervisor.activity_failed", name="sampler")
        assert "psutil is not itself today" in failed["error"]
        assert any("process_table.py" in place for place in failed["where"])
        (shown,) = daemon.until(lambda: daemon.status()["supervisor"]["unhealthy"])
        assert shown["name"] == "sampler"
        assert "not itself" in shown["error"]
        assert "sampler" in daemon.client("status").stdout
        daemon.until(lambda: get(f"http://{address}/readyz")[0] == 503)
        assert "sampler" in get(f"http://{address}/readyz")[1]
        hear(heard, 0.5)
        said = hear(heard, 4)
        assert "WATCHDOG=1" not in said
        assert any(line.startswith("STATUS=") and "sampler fails" in line for line in said)
        assert daemon.worker("0.1")["phase"] == "ready", "its workers are left alone"

        flag.unlink()
        daemon.wait("supervisor.activity_recovered", name="sampler")
        daemon.until(lambda: get(f"http://{address}/readyz") == (200, "ready\n"))
        daemon.until(lambda: "WATCHDOG=1" in hear(heard, 1))
        assert daemon.status()["supervisor"]["unhealthy"] == []
        assert daemon.terminate() == 0


def test_a_journal_that_cannot_be_written_shows_in_the_status_until_it_can(tmp_path):
    environ = {**FAST, "MINDBOT_WORKER__HEARTBEAT": "required"}
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "flight").write_text("no directory")
    with Daemon(tmp_path, "--workers", "1", *stub("crash@0.1"), environ=environ) as daemon:
        daemon.wait("journal.failed")
        (shown,) = daemon.until(lambda: daemon.status()["supervisor"]["unhealthy"])
        assert shown["name"] == "journal writer"
        (state / "flight").unlink()
        daemon.ready(1)
        os.kill(daemon.worker("0.2")["pid"], 11)
        daemon.until(lambda: daemon.status()["supervisor"]["unhealthy"] == [])
        assert daemon.terminate() == 0
    assert [json.loads(line)["worker"] for line in (state / "flight" / "flight.jsonl").read_text().splitlines()]
