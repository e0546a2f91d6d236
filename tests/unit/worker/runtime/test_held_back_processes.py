"""When warm job processes are made up for."""

import asyncio

import pytest

from mindbot_worker.runtime import job_processes
from mindbot_worker.runtime.job_processes import HeldBackProcesses


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    monkeypatch.setattr(job_processes, "HELD_FOR", 0.1)
    monkeypatch.setattr(job_processes, "HELD_AT_MOST", 0.3)
    return []


async def until(held: list[bool], expected: list[bool]) -> None:
    async with asyncio.timeout(5):
        while held != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_not_while_calls_are_starting(held: list[bool]) -> None:
    watch = HeldBackProcesses(held.append)
    watch.call_started()
    watch.call_started()
    assert held == [True]
    await until(held, [True, False])
    watch.call_started()
    await until(held, [True, False, True, False])


async def test_in_the_end_also_where_calls_never_cease(held: list[bool]) -> None:
    watch = HeldBackProcesses(held.append)
    async with asyncio.timeout(5):
        while False not in held:
            watch.call_started()
            await asyncio.sleep(0.01)
    assert held == [True, False]
