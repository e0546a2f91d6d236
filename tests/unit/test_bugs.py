"""What nobody caught is told, wherever it happened."""

import asyncio
import threading

import pytest

from mindbot_supervisor.observability.logging import uncaught_exceptions


@pytest.fixture
async def told():
    found, before = [], threading.excepthook
    uncaught_exceptions.report_to(lambda event, level, **fields: found.append((event, level, fields)))
    yield found
    threading.excepthook = before


async def until(fact):
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def fail():
    raise ValueError("odd")


async def test_an_exception_in_a_callback_is_told_with_its_place(told):
    asyncio.get_running_loop().call_soon(fail)
    await until(lambda: told)
    ((event, level, fields),) = told
    assert (event, level, fields["detail"]) == ("supervisor.bug", "critical", "ValueError: odd")
    assert fields["where"][-1].startswith("test_bugs.py:") and fields["where"][-1].endswith(" fail")


async def test_a_thread_that_ends_by_one_is_told_by_its_name(told):
    thread = threading.Thread(target=fail, name="sampler")
    thread.start()
    await until(lambda: told)
    ((_, _, fields),) = told
    assert (fields["thread"], fields["detail"]) == ("sampler", "ValueError: odd")
    thread.join()
