"""The worker's socket for reports: found again by jobs that begin after somebody has removed its name."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mindbot_worker.jobs.reporter import Outbox
from mindbot_worker.protocol import job_reports, worker_inbox
from mindbot_worker.protocol.job_reports import Report
from mindbot_worker.runtime import inbox
from mindbot_worker.runtime.inbox import Inbox


@pytest.fixture
async def found(tmp_path: Path):
    (tmp_path / "run").mkdir()
    made = Inbox(tmp_path / "run", "0.1")
    made.reports = asyncio.Queue()
    made.listen(asyncio.get_running_loop(), made.reports.put_nowait, lambda _: None)
    yield made
    made.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def report(job: str) -> bytes:
    return job_reports.encode(Report(job=job, seq=1))


async def next_job(found: Inbox) -> str:
    async with asyncio.timeout(10):
        return (await found.reports.get()).job


async def test_its_socket_is_its_owners_alone(found):
    assert found.path.stat().st_mode & 0o777 == 0o600


async def test_after_its_directory_was_removed_old_and_new_jobs_reach_it(found):
    old = Outbox(str(found.path))
    assert old.send(report("old"))
    assert await next_job(found) == "old"
    found.path.unlink()
    found.path.parent.rmdir()
    found.restore_name()
    assert not found.path.exists(), "the directory is the supervisor's to make"
    found.path.parent.mkdir()
    found.restore_name()
    new = Outbox(str(found.path))
    assert new.send(report("new"))
    assert await next_job(found) == "new"
    assert old.send(report("old again"))
    assert await next_job(found) == "old again"
    for each in (old, new):
        each.close()


async def test_a_name_that_is_removed_again_and_again_costs_no_descriptors(found):
    before = descriptors()
    for _ in range(20):
        found.path.unlink()
        found.restore_name()
    assert descriptors() <= before + inbox._FORMER_MAX


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, os.mkfifo])
def test_what_is_no_socket_is_not_removed_for_it(tmp_path, make):
    taken = tmp_path / worker_inbox.file_name("0.1", os.getpid())
    make(taken)
    made = Inbox(tmp_path, "0.1")
    assert made.path != taken and made.path.is_socket()
    made.close()
    made.unlink()
    assert taken.exists() and not made.path.parent.exists()


async def test_a_name_that_is_somebody_elses_by_now_is_left_alone(found):
    found.path.unlink()
    found.path.touch()
    found.restore_name()
    found.unlink()
    assert found.path.is_file()
