"""structlog as the daemon uses it: its processors, its one logger, and the sink as its logger factory.

Imported after the first worker was started: structlog takes longer to load than all that a start needs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog
from structlog.typing import Processor

from mindbot_config.output.log_chain import Mask, Record, formatter, in_order, to_console, to_json
from mindbot_config.output.log_records import Fields, shortened
from mindbot_config.output.rate_limit import RateLimits
from mindbot_supervisor.core import log_events

RATE, BURST = 50.0, 500.0
"""Records a second of one event of one worker, and how many at once; more are counted."""
_RARE = {log_events.BEAT_REJECTED: (1.0, 20.0), log_events.SUPERVISOR_LOG: (5.0, 100.0)}
"""What only a fault, or somebody hostile, causes often."""
LIFECYCLE_RATE, LIFECYCLE_BURST = 20.0, 1000.0
"""The same for what happens to workers and calls: all calls of a large worker may be lost in one moment."""
_LIFECYCLE = ("call.", "worker.", "slot.", "supervisor.", "pool.")
_LIMITED_BEFORE = frozenset(
    {log_events.WORKER_LOG, log_events.WORKER_OUTPUT, log_events.TEMPLATE_OUTPUT, log_events.LOG_SUPPRESSED}
)
"""Lines of a worker have a limit of their own, before they are read (runtime/output.py)."""

Put = Callable[..., None]
"""Takes a line in bytes, and `droppable`."""


class RateLimit:
    """A processor: one limit for each event of each worker. What is not told is counted, and told by `summaries`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limits = RateLimits()

    def __call__(self, _: Any, __: str, record: Record) -> Record:
        if not self.passes(str(record.get("event")), record.get("worker")):
            raise structlog.DropEvent
        return record

    def passes(self, event: str, worker: object) -> bool:
        if event in _LIMITED_BEFORE:
            return True
        usual = (LIFECYCLE_RATE, LIFECYCLE_BURST) if event.startswith(_LIFECYCLE) else (RATE, BURST)
        return self._limits.passes((worker, event), *_RARE.get(event, usual), self._clock())

    def summaries(self, *, all_of_them: bool = False) -> Iterator[dict[str, object]]:
        """The fields of a `log.suppressed` for each event that was told too often."""
        found = self._limits.rest() if all_of_them else self._limits.over(self._clock())
        for key, count in found:
            worker, event = key if isinstance(key, tuple) else (None, "any")
            slot = str(worker).partition(".")[0] if worker is not None else ""
            where = {"worker": worker, "slot": int(slot)} if slot.isdecimal() else {}
            yield {**where, "of": event, "count": count}


class SinkLogger:
    """What structlog calls a logger: it takes a finished line."""

    def __init__(self, put: Put) -> None:
        self._put = put

    def line(self, text: str, *, droppable: bool) -> None:
        self._put(text.encode() + b"\n", droppable=droppable)


class DaemonLogger(structlog.BoundLoggerBase):
    """The daemon's bound logger. Fields are one mapping, as a worker may call them as it likes, `self` included."""

    def record(self, level: str, event: str, fields: Mapping[str, object], *, droppable: bool = False) -> None:
        try:
            args, _ = self._process_event(level, event, dict(fields))
        except structlog.DropEvent:
            return
        self._logger.line(*args, droppable=droppable)


class StdlibRecords(logging.Handler):
    """Takes what libraries log in the daemon (asyncio, aiohttp) through the same processors to the same sink."""

    def __init__(self, put: Put, host: str, mask: Mask, limit: RateLimit, render: Processor) -> None:
        super().__init__(logging.WARNING)
        self._put, self._limit = put, limit
        self.setFormatter(formatter([Fields(log_events.SUPERVISOR_LOG)], {"host": host}, mask, [shortened, render]))

    def emit(self, record: logging.LogRecord) -> None:
        if not self._limit.passes(log_events.SUPERVISOR_LOG, None):
            return
        with contextlib.suppress(Exception):  # a record that no library should make is worth no more than its line
            self._put(self.format(record).encode() + b"\n", droppable=True)


def install(put: Put, *, host: str, style: str, mask: Mask, limit: RateLimit) -> DaemonLogger:
    """Configure structlog and the standard library's logging for this process."""
    render: Processor = to_console(colors=os.isatty(1)) if style == "console" else to_json
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, in_order, limit, mask, render],
        wrapper_class=DaemonLogger,
        logger_factory=lambda *_: SinkLogger(put),
    )
    root = logging.getLogger()
    root.handlers[:] = [StdlibRecords(put, host, mask, limit, render)]
    logging.captureWarnings(True)
    logger: DaemonLogger = structlog.get_logger().bind()
    return logger
