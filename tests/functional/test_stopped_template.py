"""A template or a job server that is stopped while idle: noticed, and the next worker is not kept waiting for it."""

import os
import signal

import psutil
import pytest

from functional.daemon import Daemon
from functional.test_template import START, jobserver, kill, pool, template, whole, write_agent

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def forked(tmp_path):
    write_agent(tmp_path)
    with pool(tmp_path, LIMITS__SUSPECT_AFTER="2") as daemon:
        whole(daemon)
        yield daemon
        assert daemon.terminate(90) == 0
        assert daemon.left_behind() == []


def stop(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGSTOP)


def rebuilt(daemon: Daemon, number: int) -> None:
    daemon.wait("template.ready", after=number, timeout=START)


def test_a_stopped_template_is_noticed_while_nobody_needs_it_and_built_anew(forked):
    daemon, before = forked, template(forked)
    workers = {row["pid"] for row in daemon.status()["workers"]}
    number = len(daemon.records)
    stop(before)
    noticed = daemon.wait("template.stopped")
    assert noticed["pid"] == before.pid
    assert "state T" in noticed["detail"]
    rebuilt(daemon, number)
    assert template(daemon).pid != before.pid
    assert {row["pid"] for row in daemon.status()["workers"]} == workers, "no worker was concerned"
    kill(daemon.worker("0.1")["pid"])
    daemon.wait("worker.ready", worker="0.2", timeout=START)


def test_a_worker_that_is_asked_of_a_stopped_template_comes_from_the_next_one(forked):
    daemon = forked
    stop(template(daemon))
    kill(daemon.worker("1.1")["pid"])
    daemon.wait("worker.ready", worker="1.2", timeout=START)
    assert len(daemon.events("template.stopped")) == 1


def test_a_stopped_job_server_is_noticed_and_its_workers_get_another_one(forked):
    daemon, before = forked, jobserver(forked)
    stop(before)
    assert daemon.wait("template.stopped")["pid"] == before.pid
    for name in ("0.1", "1.1"):
        ended = daemon.wait("worker.exited", worker=name, timeout=START)
        assert (ended["verdict"], ended["reason"]) == ("asked", "template")
    whole(daemon)
    assert jobserver(daemon).pid != before.pid
