"""Warm job processes for calls that are known to be coming, in LiveKit's own pool."""

import asyncio
import multiprocessing
import socket
from types import SimpleNamespace

import pytest
from livekit.agents import JobExecutorType
from livekit.agents.ipc.proc_pool import ProcPool

from mindbot_supervisor.processes.pipes import worker_inbox_sockets
from mindbot_worker.livekit_adapter import internals
from mindbot_worker.protocol import worker_inbox
from mindbot_worker.protocol.job_reports import Report, encode
from mindbot_worker.runtime import job_processes
from mindbot_worker.runtime.inbox import Inbox
from mindbot_worker.runtime.job_processes import JobProcessWatch, WarmProcessesAhead


@pytest.fixture
async def server(monkeypatch):
    """As much of an AgentServer as its pool is, with threads for processes; one of them is to be warm."""
    monkeypatch.setattr(job_processes, "KEPT", 0.3)
    pool = ProcPool(
        initialize_process_fnc=lambda _: None,
        job_entrypoint_fnc=lambda _: None,
        session_end_fnc=None,
        simulation_end_fnc=None,
        num_idle_processes=1,
        initialize_timeout=10.0,
        close_timeout=5.0,
        session_end_timeout=5.0,
        inference_executor=None,
        job_executor_type=JobExecutorType.THREAD,
        mp_ctx=multiprocessing.get_context("spawn"),
        memory_warn_mb=0,
        memory_limit_mb=0,
        http_proxy=None,
        loop=asyncio.get_running_loop(),
    )
    await pool.start()
    yield SimpleNamespace(_proc_pool=pool, draining=False)
    await pool.aclose()


async def warm(server, number):
    async with asyncio.timeout(10):
        while internals.warm_processes(server) != number:  # noqa: ASYNC110 - the pool has no event for it
            await asyncio.sleep(0.01)


async def test_more_are_warm_for_a_while_and_as_many_as_ever_afterwards(server):
    pool = JobProcessWatch(server, SimpleNamespace(), None, lambda: None, SimpleNamespace())
    pool.install()
    await warm(server, 1)
    pool.on_warm_request(3)
    await warm(server, 3)
    await warm(server, 1)


async def test_those_that_are_there_or_starting_count(server):
    await warm(server, 1)
    internals.start_processes(server, 3)
    internals.start_processes(server, 3)
    assert len(server._proc_pool._spawn_tasks) == 2
    await warm(server, 3)
    internals.start_processes(server, 2)
    assert not server._proc_pool._spawn_tasks


async def test_who_asks_again_gets_his_time_anew():
    started, ended = [], []
    extra = WarmProcessesAhead(started.append, lambda: ended.append(1))
    extra.prepare(2)
    extra.prepare(3)
    assert started == [2, 3]
    extra._over.cancel()
    assert not ended


@pytest.mark.parametrize("datagram", [b"warm", b"warm ", b"warm x", b"warm -1", b"warm 1e3", b"warm 99999", b"", b"{}"])
def test_what_is_no_such_word_is_none(datagram):
    assert worker_inbox.processes(datagram) is None


def test_a_word_asks_for_no_more_than_a_host_can_bear():
    assert worker_inbox.processes(worker_inbox.warm(3)) == 3
    assert worker_inbox.processes(worker_inbox.warm(10_000)) == worker_inbox.MOST
    assert worker_inbox.processes(b"warm 999") == worker_inbox.MOST


async def test_it_comes_in_beside_the_reports_of_calls(tmp_path):
    reports, wanted = [], []
    inbox = Inbox(tmp_path, "0.1")
    loop = asyncio.get_running_loop()
    inbox.listen(loop, reports.append, wanted.append)
    with_pid = int(inbox.path.stem.rpartition("-")[2])
    worker_inbox_sockets.prepare(tmp_path, "0.1", with_pid, 2)
    worker_inbox_sockets.prepare(tmp_path, "0.2", with_pid, 2)  # nobody is there
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(encode(Report("AJ_1", 1)), str(inbox.path))
        sender.sendto(b"nonsense", str(inbox.path))
    inbox.read()
    assert (wanted, [each.job for each in reports], inbox.rejected) == ([2], ["AJ_1"], 1)
    inbox.close()
    inbox.unlink()
