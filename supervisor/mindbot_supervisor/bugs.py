"""An exception that nobody caught: told with its place, without the values it was about, and survived."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .core import events

FRAMES = 5


def report_to(note: Callable[..., None]) -> None:
    """Report those of the running loop from now on."""

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        frames = traceback.extract_tb(exc.__traceback__) if isinstance(exc, BaseException) else []
        where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-FRAMES:]]
        what = f"{type(exc).__name__}: {exc}" if exc is not None else str(context.get("message"))
        note(events.SUPERVISOR_BUG, "critical", detail=what, where=where)

    asyncio.get_running_loop().set_exception_handler(report)
