"""Runs what may block, such as reading files by name, beside the event loop and for a limited time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from mindbot_config.files.read_file import in_thread

Result = TypeVar("Result")


async def off_loop(function: Callable[[], Result], within: float) -> Result:
    """What the function returns or raises. TimeoutError after `within` seconds: it is left behind, and its result lost.

    Not `asyncio.to_thread`: a thread of that pool that hangs would keep the daemon from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def done(result: Any, problem: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed by now
            loop.call_soon_threadsafe(settle, result, problem)

    def settle(result: Any, problem: BaseException | None) -> None:
        if future.done():
            return
        if problem is None:
            future.set_result(result)
        else:
            future.set_exception(problem)

    in_thread(function, done)
    async with asyncio.timeout(within):
        return await future  # type: ignore[no-any-return]
