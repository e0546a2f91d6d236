"""What is left of a worker and of a slot: rows of drained slots, deadlines, and no sockets of the dead."""

import os
import signal
import socket

from functional.daemon import Daemon, stub
from mindbot_worker.protocol import worker_inbox

REQUIRED = {"MINDBOT_WORKER__HEARTBEAT": "required"}


def test_a_drained_slot_has_a_row_until_a_restart_fills_it(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub(), environ=REQUIRED) as daemon:
        daemon.ready(2)
        assert daemon.client("drain", "0").returncode == 0
        daemon.wait("worker.exited", worker="0.1")
        row = next(row for row in daemon.status()["workers"] if row["slot"] == 0)
        assert (row["phase"], row["pid"]) == ("drained", None)
        assert row["drained_since"].endswith("Z")
        assert len(daemon.status()["workers"]) == 2
        assert "drained" in daemon.client("status").stdout
        assert "restart 0" in daemon.client("explain", "0").stdout
        assert daemon.client("restart", "0").returncode == 0
        daemon.ready(2)
        assert daemon.worker("0.2")["drained_since"] is None


def test_explain_of_a_draining_worker_names_its_deadline(tmp_path):
    environ = {**REQUIRED, "MINDBOT_POOL__DRAIN_TIMEOUT": "600"}
    with Daemon(tmp_path, "--workers", "1", *stub("call"), environ=environ) as daemon:
        daemon.ready(1)
        daemon.until(lambda: daemon.worker("0.1")["calls"])
        assert daemon.client("drain", "0").returncode == 0
        said = daemon.client("explain", "0").stdout
        (line,) = [line for line in said.splitlines() if "killed if one still lasts then" in line]
        seconds = float(line.split("in ")[1].split(" s")[0])
        assert 500 < seconds <= 600
        row = daemon.worker("0.1")
        assert row["deadline"].endswith("Z") and 500 < row["deadline_in"] <= 600


def test_sockets_of_killed_workers_do_not_stay_in_the_runtime_directory(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=REQUIRED) as daemon:
        daemon.ready(1)
        pid = daemon.worker("0.1")["pid"]
        left = bound(daemon.runtime_dir / worker_inbox.file_name("0.1", pid))
        stale = bound(daemon.runtime_dir / worker_inbox.file_name("7.1", 99999))
        os.kill(pid, signal.SIGKILL)
        daemon.wait("worker.exited", worker="0.1")
        daemon.until(lambda: not left.exists())
        assert stale.exists(), "nobody knows whose it is"
        assert daemon.terminate() == 0
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=REQUIRED) as daemon:
        daemon.ready(1)
        assert not stale.exists()
        assert daemon.terminate() == 0


def bound(path):
    """A socket as a killed worker leaves it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(path))
    return path
