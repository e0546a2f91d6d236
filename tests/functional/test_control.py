"""The control socket and the read-only pages."""

import json
import re
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from functional.daemon import Daemon, stub

ROW = {
    "worker", "slot", "pid", "phase", "registered", "calls", "errors_in_window", "idle", "lag_ms", "load", "pss_mb",
    "rss_mb", "cpu_percent", "processes", "uptime", "restarts", "parked_until", "leak", "last_exit",
}  # fmt: skip


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_status_has_the_shape_of_the_contract(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub("--calls", "1", "crash@1")) as daemon:
        daemon.until(lambda: (daemon.worker("0.1") or {}).get("pss_mb"))
        status = json.loads(daemon.client("status", "--json").stdout)
        assert set(status) == {"supervisor", "workers", "calls", "usage"}
        assert {"version", "pid", "uptime", "workers_wanted", "held", "mode"} <= set(status["supervisor"])
        assert status["supervisor"]["pid"] == daemon.process.pid
        assert {"active", "lost", "recovered", "migrated", "cut_by_us"} <= set(status["calls"])
        for row in status["workers"]:
            assert set(row) >= ROW
        first = next(row for row in status["workers"] if row["worker"] == "0.1")
        assert first["calls"][0]["room"] == "0.1-r0"
        assert 1 < first["pss_mb"] < 200
        daemon.wait("slot.backoff", slot=1)
        last = daemon.until(lambda: [r for r in daemon.status()["workers"] if r["slot"] == 1 and r["last_exit"]])[0]
        assert (last["last_exit"]["verdict"], last["last_exit"]["code"]) == ("crashed", 3)
        table = daemon.client("status").stdout
        assert re.search(r"^0\.1 +ready", table, re.MULTILINE)
        assert daemon.client("stop", "--now").returncode == 0


def test_the_socket_is_for_its_owner_only(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(daemon.runtime_dir.stat().st_mode) == 0o700
        daemon.terminate()


def test_the_read_only_pages_tell_health_and_readiness_and_take_no_commands(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("slow_boot", "exit_0@0.1"), "--http", "127.0.0.1:0") as daemon:
        address = daemon.wait("http.listening")["address"]
        assert get(f"http://{address}/healthz") == (200, "ok\n")
        code, why = get(f"http://{address}/readyz")
        assert (code, why) in ((503, "no worker is ready\n"), (200, "ready\n"))
        daemon.wait("supervisor.ready")
        daemon.until(lambda: get(f"http://{address}/readyz") == (200, "ready\n"))
        assert json.loads(get(f"http://{address}/status")[1])["supervisor"]["pid"] == daemon.process.pid
        code, page = get(f"http://{address}/metrics")
        assert code == 200 and 'mindbot_workers{phase="ready"} 1.0\n' in page
        assert re.search(r"^mindbot_worker_ready_seconds_count 1.0$", page, re.MULTILINE)
        request = urllib.request.Request(f"http://{address}/stop", data=b"{}", method="POST")
        try:
            urllib.request.urlopen(request, timeout=10)
            raise AssertionError("the read-only page took a command")
        except urllib.error.HTTPError as error:
            assert error.code == 404
        daemon.terminate()


def test_sigusr1_logs_a_full_status_line(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        daemon.process.send_signal(signal.SIGUSR1)
        record = daemon.wait("supervisor.status")
        assert record["workers"][0]["worker"] == "0.1"
        daemon.terminate()


def test_stop_waits_until_the_daemon_is_gone(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("--calls", "1", "--call-seconds", "3")) as daemon:
        daemon.wait("call.started")
        done = daemon.client("stop")
        assert done.returncode == 0
        assert "waiting for 1 calls" in done.stderr
        assert daemon.end() == 0
        assert daemon.events("call.ended")
        assert not daemon.socket.exists()


def test_every_record_carries_the_fields_of_the_contract(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("print_json")) as daemon:
        daemon.wait("worker.output")
        daemon.terminate()
    for record in daemon.records:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["timestamp"])
        assert record["level"] in ("debug", "info", "warning", "error", "critical")
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", record["event"])
        assert record["host"]
        if record["event"].startswith("worker."):
            assert {"worker", "slot", "pid"} <= set(record)


def test_the_supervisor_stays_under_60_mb(tmp_path):
    with Daemon(tmp_path, "--workers", "4", *stub(), "--http", "127.0.0.1:0") as daemon:
        daemon.ready(4)
        rollup = Path(f"/proc/{daemon.process.pid}/smaps_rollup").read_text()
        assert int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE).group(1)) / 1024 < 60
        daemon.terminate()


def test_no_module_of_the_supervisor_brings_livekit_in():
    look = """
import importlib, pkgutil, sys, mindbot_supervisor
for module in pkgutil.walk_packages(mindbot_supervisor.__path__, "mindbot_supervisor."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print([name for name in sys.modules if name.split(".")[0] in ("livekit", "openai", "numpy", "av")])
"""
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_client_command_starts_without_what_only_the_daemon_needs():
    look = """
import sys, mindbot_supervisor.cli as cli
cli.main(["status", "--socket", "/nonexistent/socket"])
print([name for name in sys.modules if name in ("aiohttp", "pydantic", "psutil", "structlog", "uvloop", "asyncio")])
"""
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
