"""A worker that floods its output costs itself time; the daemon next to nothing, and its siblings no line.

Floods of heartbeats are in test_floods.py.
"""

import shlex
import sys
import time

import psutil

from functional.daemon import Daemon

LINES = 300
SPELLS = """
import os, sys, time
if os.environ["MINDBOT_SLOT"] == "0":
    {flood}
for number in range({lines}):
    print(f"line {{number}}", flush=True)
    time.sleep(0.02)
print("done", flush=True)
time.sleep(3600)
"""
YES = 'os.execvp("yes", ["yes"])'
LONG = 'os.execvp("sh", ["sh", "-c", "exec cat /dev/zero"])'
JSON_LINES = """
    line = b'{"event": "user.speech", "level": "info", "room": "r", "characters": 5}\\n' * 1000
    while True:
        os.write(1, line)
"""
SECONDS = 6.0
SHARE = 0.1
"""Of a core that the daemon may take meanwhile."""


def flooded(tmp_path, flood):
    """Runs it for a while: what the daemon has logged, and which share of a core it took meanwhile."""
    script = tmp_path / "worker.py"
    script.write_text(SPELLS.format(flood=flood, lines=LINES))
    command = shlex.join([sys.executable, str(script)])
    environ = {"MINDBOT_WORKER__READY_AFTER": "0.5"}
    with Daemon(tmp_path, "--workers", "3", "--command", command, environ=environ) as daemon:
        daemon.until(lambda: {record["slot"] for record in daemon.events("worker.ready")} >= {1, 2})
        process = psutil.Process(daemon.process.pid)
        memory, cpu, began = process.memory_info().rss, process.cpu_times(), time.monotonic()
        lines = len(daemon.records)
        daemon.until(lambda: time.monotonic() - began > SECONDS)
        spent, now = time.monotonic() - began, process.cpu_times()
        took = (now.user + now.system - cpu.user - cpu.system) / spent
        told = [record for record in daemon.records[lines:] if record.get("slot") == 0]
        daemon.until(lambda: len(daemon.events("worker.output", text="done")) == 2, timeout=60)
        for slot in (1, 2):
            texts = [record["text"] for record in daemon.events("worker.output", slot=slot)]
            assert texts == [f"line {number}" for number in range(LINES)] + ["done"]
        assert process.memory_info().rss - memory < 10 * 1024 * 1024
        assert took < SHARE, f"{took:.0%} of a core"
        assert not daemon.events("supervisor.bug")
        assert all(row["phase"] == "ready" for row in daemon.status()["workers"] if row["slot"])
        assert daemon.client("stop", "--now").returncode == 0
        daemon.end()
        assert not daemon.left_behind()
        return daemon, told


def test_a_worker_that_is_yes(tmp_path):
    daemon, told = flooded(tmp_path, YES)
    assert len(told) < 10 * SECONDS, "what it says is counted, not told"
    assert sum(record["lines"] for record in daemon.events("output.dropped", slot=0)) > 100_000


def test_a_line_without_an_end(tmp_path):
    daemon, _ = flooded(tmp_path, LONG)
    assert len(daemon.events("worker.output", slot=0)) <= 2


def test_a_flood_of_its_own_events(tmp_path):
    daemon, _ = flooded(tmp_path, JSON_LINES)
    assert len(daemon.events("user.speech", slot=0)) < 3000
    assert daemon.events("output.dropped", slot=0)
