"""The runtime directory is removed under workers of a template: they go on taking calls, and so do their successors."""

import os
import signal

import psutil
import pytest

from functional.daemon import Daemon
from functional.test_runtime_directory import sweep
from functional.test_template import START, jobserver, pool, whole, write_agent

pytestmark = pytest.mark.timeout(400)


def jobs_of(daemon: Daemon, worker: str) -> set[int]:
    found = set()
    for process in jobserver(daemon).children():
        try:
            if process.name() == f"mb {worker} job":
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def test_job_processes_still_start_for_old_workers_and_for_new_ones(tmp_path):
    write_agent(tmp_path)
    with pool(tmp_path, workers=1) as daemon:
        whole(daemon, 1)
        before = daemon.until(lambda: jobs_of(daemon, "0.1"), START)
        sweep(daemon.runtime_dir)
        daemon.wait("runtime.restored")
        os.kill(min(before), signal.SIGKILL)
        daemon.until(lambda: jobs_of(daemon, "0.1") - before, START)
        daemon.until(lambda: list(daemon.runtime_dir.glob("worker-0.1-*.sock")))
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("worker.ready", worker="0.2", timeout=START)
        daemon.until(lambda: jobs_of(daemon, "0.2"), START)
        assert daemon.terminate(60) == 0
        assert daemon.left_behind() == []
