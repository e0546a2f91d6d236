"""An exception that nobody caught: told with its place, without the values it was about, and survived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mindbot_supervisor.core import log_events
from mindbot_supervisor.monitoring.activities import where


def report_to(note: Callable[..., None]) -> None:
    """Report those of the running loop from now on."""

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        what = f"{type(exc).__name__}: {exc}" if exc is not None else str(context.get("message"))
        note(
            log_events.SUPERVISOR_BUG,
            "critical",
            detail=what,
            where=where(exc) if isinstance(exc, BaseException) else [],
        )

    asyncio.get_running_loop().set_exception_handler(report)
