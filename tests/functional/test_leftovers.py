"""The daemon dies: its workers finish their calls beside the next one, which starts at once."""

import json
import os
import signal
import subprocess
from pathlib import Path

from functional.daemon import Daemon, stub

WORKER = {"MINDBOT_WORKER__HEARTBEAT": "required"}


def kill(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait(10)


def test_calls_outlive_their_daemon_and_the_next_one_starts_beside_them(tmp_path):
    words = stub("--calls", "1", "--call-seconds", "10")
    with Daemon(tmp_path, "--workers", "2", *words, environ=WORKER) as first:
        first.ready(2)
        left = {row["worker"]: row["pid"] for row in first.status()["workers"]}
        kill(first)
        with Daemon(tmp_path, "--workers", "2", *words, environ=WORKER) as second:
            second.ready(2)
            rows = {row["worker"]: row for row in second.status()["workers"]}
            assert {name: rows[name]["pid"] for name in left} == left
            assert {rows[name]["phase"] for name in left} == {"draining"}
            assert {name for name, row in rows.items() if row["phase"] == "ready"} == {"0.2", "1.2"}
            for name, pid in left.items():
                exited = second.wait("worker.exited", worker=name)
                assert (exited["verdict"], exited["reason"]) == ("asked", "leftover")
                assert pid not in second.survivors()
            assert second.client("stop", "--now").returncode == 0
            assert second.left_behind() == []
            assert not list((second.runtime_dir / "workers").iterdir())


def test_a_next_daemon_whose_agent_cannot_work_ends_and_leaves_the_calls_alone(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("--calls", "1"), environ=WORKER) as first:
        first.ready(1)
        pid = first.worker("0.1")["pid"]
        kill(first)
        credentials = {"LIVEKIT_URL": "ws://127.0.0.1:9", "LIVEKIT_API_KEY": "devkey", "LIVEKIT_API_SECRET": "s" * 32}
        broken = ["--workers", "1", "--agent", "no_such_agent_of_mine:server"]
        with Daemon(tmp_path, *broken, environ=credentials) as second:
            second.wait("worker.draining", worker="0.1", reason="leftover")
            assert second.end(120) == 78
            with Daemon(tmp_path, "--workers", "1", *stub(), environ=WORKER) as third:
                third.ready(1)
                assert (third.worker("0.1")["pid"], third.worker("0.1")["phase"]) == (pid, "draining")
                assert third.client("stop", "--now").returncode == 0
                assert third.left_behind() == []


def test_a_leftover_is_ended_at_its_deadline(tmp_path):
    environ = {**WORKER, "MINDBOT_POOL__DRAIN_TIMEOUT": "2"}
    with Daemon(tmp_path, "--workers", "1", *stub("--calls", "1"), environ=environ) as first:
        first.ready(1)
        kill(first)
        with Daemon(tmp_path, "--workers", "1", *stub(), environ=environ) as second:
            assert second.wait("worker.killing", worker="0.1")["reason"] == "drain_timeout"
            second.wait("worker.exited", worker="0.1")
            second.ready(1)
            assert second.terminate() == 0
            assert second.left_behind() == []


def test_a_stranger_with_a_recorded_pid_is_never_touched(tmp_path):
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        folder = tmp_path / "s.run" / "workers"
        folder.mkdir(parents=True)
        folder.parent.chmod(0o700)
        started = int(Path(f"/proc/{stranger.pid}/stat").read_text().rpartition(")")[2].split()[19])
        record = {"slot": 0, "generation": 7, "pid": stranger.pid, "started": started}
        (folder / "0.7.json").write_text(json.dumps(record))
        (folder / "0.8.json").write_text(json.dumps({**record, "generation": 8, "pid": os.getpid()}))
        (folder / "hostile.json").write_text("[" * 3000)
        (folder / "link.json").symlink_to("/etc/passwd")
        with Daemon(tmp_path, "--workers", "1", *stub(), environ=WORKER) as daemon:
            daemon.wait("worker.ready", worker="0.9")
            assert daemon.terminate() == 0
        assert stranger.poll() is None
        assert Path("/etc/passwd").exists()
    finally:
        stranger.kill()
        stranger.wait()
