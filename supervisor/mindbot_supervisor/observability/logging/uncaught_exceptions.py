"""An exception that nobody caught: told with its place, without the values it was about, and survived."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from mindbot_supervisor.core import log_events
from mindbot_supervisor.monitoring.activities import where


def report_to(note: Callable[..., None]) -> None:
    """Report those of the running loop, and of every thread, from now on."""
    loop = asyncio.get_running_loop()

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        what = _told(exc) if isinstance(exc, BaseException) else str(context.get("message"))
        note(
            log_events.SUPERVISOR_BUG,
            "critical",
            detail=what,
            where=where(exc) if isinstance(exc, BaseException) else [],
        )

    def report_thread(ended: threading.ExceptHookArgs) -> None:
        """A thread has ended by it. What it did is started again by whoever watches over it."""
        if ended.exc_value is None or loop.is_closed():
            return
        name = ended.thread.name if ended.thread is not None else "a thread"
        told = {"detail": _told(ended.exc_value), "where": where(ended.exc_value), "thread": name}
        loop.call_soon_threadsafe(lambda: note(log_events.SUPERVISOR_BUG, "critical", **told))

    loop.set_exception_handler(report)
    threading.excepthook = report_thread


def _told(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"
