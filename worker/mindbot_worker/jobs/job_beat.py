"""Stamps the time from a timer of the job's event loop, so that a blocked loop or a stopped process is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

from mindbot_worker.jobs.reporter import Outbox
from mindbot_worker.protocol import job_beats

_AGAIN = 0.25
"""Seconds after which a worker whose socket was full is told again."""

_file: tuple[int, int] | None = None
"""The pid of this process and its file of stamps, which is made before the event loop is."""


def introduce(reports_to: str) -> bool:
    """Stamp once and send the worker the file; False if that failed.

    Called as a job process is made ready, so that one which is stopped before its first call is noticed.
    """
    outbox = Outbox(reports_to)
    try:
        fd = _own_file()
        job_beats.stamp(fd, time.monotonic())
        return outbox.send(job_beats.HELLO, fd)
    except OSError:
        return False
    finally:
        outbox.close()


def begin(reports_to: str, interval: float) -> None:
    """Stamp the time every `interval` seconds, for as long as the loop runs."""
    loop = asyncio.get_running_loop()
    _repeat(loop, interval)
    _tell(loop, reports_to)


def _repeat(loop: asyncio.AbstractEventLoop, interval: float) -> None:
    with contextlib.suppress(OSError):
        job_beats.stamp(_own_file(), time.monotonic())
    loop.call_later(interval, _repeat, loop, interval)


def _tell(loop: asyncio.AbstractEventLoop, reports_to: str) -> None:
    """Send the file again until it arrives: the worker may have had no descriptor left before."""
    if not introduce(reports_to) and os.path.exists(reports_to):  # noqa: PTH110
        loop.call_later(_AGAIN, _tell, loop, reports_to)


def _own_file() -> int:
    global _file
    if _file is None or _file[0] != os.getpid():
        _file = os.getpid(), job_beats.new_file()
    return _file[1]
