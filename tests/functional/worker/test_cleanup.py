"""A session cleans up after itself: its job process, where it to live on, would keep nothing of it.

LiveKit runs one job in one process, which ends with it. These run several, one after the other, in this one.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import os
import socket
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import AgentSession, JobContext
from livekit.agents.testing import fake_job_context
from livekit.agents.utils import http_context

from mindbot_worker import mindbot
from mindbot_worker.jobs.entrypoint import Entrypoint
from mindbot_worker.protocol import heartbeat


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[str]:
    """The socket of a worker, which reads what its jobs report."""
    path = str(tmp_path / "inbox.sock")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(path)
    reader = threading.Thread(target=lambda: all(iter(lambda: bound.recv(65536), b"")), daemon=True)
    reader.start()
    yield path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
        last.sendto(b"", path)
    reader.join(5)
    bound.close()


@pytest.fixture
def environ(providers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"MINDBOT_VOICE__TURN_DETECTION": "vad", heartbeat.RUNTIME_DIR: str(tmp_path)}
    for name, value in (providers | settings).items():
        monkeypatch.setenv(name, value)


async def test_what_a_session_opened_is_closed_with_it(environ: None, inbox: str, tmp_path: Path) -> None:
    sessions = [await call(inbox) for _ in range(2)]  # what is opened once for all stays open
    before = await quiet()
    files = below(tmp_path)
    sessions += [await call(inbox) for _ in range(3)]
    assert await quiet() == before
    assert below(tmp_path) == files
    assert [session() for session in sessions] == [None] * len(sessions), "a session is still held by somebody"


async def call(reports_to: str) -> weakref.ref[AgentSession[Any]]:
    """A synthetic call from its beginning to its end, as LiveKit runs one in a job process."""
    with fake_job_context(job_id=os.urandom(4).hex()) as context:
        http_context._new_session_ctx()
        try:
            mindbot.prepare(context.proc)
            await Entrypoint(mindbot.converse, reports_to)(context)
            session = weakref.ref(context.primary_session)
            await end(context)
        finally:
            await http_context._close_http_ctx()
    return session


async def end(context: JobContext) -> None:
    """`_shutdown_job` in livekit/agents/ipc/job_proc_lazy_main.py, in short."""
    await context.primary_session.aclose()
    await asyncio.gather(*(callback("over") for callback in context._shutdown_callbacks))
    for task in context._pending_tasks:
        task.cancel()
    await asyncio.gather(*context._pending_tasks, return_exceptions=True)


async def quiet() -> tuple[list[str], Counter[str]]:
    """The names of the tasks that still run, and the kinds of files that are open, after a moment to come to rest."""
    deadline = asyncio.get_running_loop().time() + 5
    seen = None
    while (now := (tasks(), open_files())) != seen and asyncio.get_running_loop().time() < deadline:
        seen = now
        await asyncio.sleep(0.3)
        forget_cancelled_timers(asyncio.get_running_loop())
        gc.collect()
    return now


def forget_cancelled_timers(loop: Any) -> None:
    """asyncio keeps them, and the context they were made in, until they would have been due."""
    loop._scheduled = [timer for timer in loop._scheduled if not timer.cancelled()]
    heapq.heapify(loop._scheduled)


def below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def tasks() -> list[str]:
    return sorted(task.get_name() for task in asyncio.all_tasks())


def open_files() -> Counter[str]:
    kinds: Counter[str] = Counter()
    for link in Path("/proc/self/fd").iterdir():
        try:
            kinds[link.readlink().name.partition("[")[0]] += 1
        except OSError:
            continue  # the one with which we look
    return kinds
