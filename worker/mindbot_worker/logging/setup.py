"""Puts the log of this process in order: JSON lines on stdout, at the level that the settings ask for."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

from mindbot_config.credentials import secret_values
from mindbot_config.output.log_records import ContextFields, through_logging
from mindbot_config.output.redaction import Redactor
from mindbot_worker.logging.json_lines import Lines
from mindbot_worker.logging.log_queue import LogQueue, UnqueuedLog
from mindbot_worker.logging.nonblocking_output import outlet
from mindbot_worker.protocol import heartbeat

_NOISY = (
    "aiohttp.access",
    "asyncio",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "livekit",
    "openai",
    "urllib3.connectionpool",
    "websockets",
)


def redactor(environ: Mapping[str, str]) -> Redactor:
    """For the secrets that `environ` holds."""
    return Redactor(secret_values(environ))


def always(environ: Mapping[str, str]) -> dict[str, Any]:
    """What every line of this worker carries."""
    fields: dict[str, Any] = {"host": socket.gethostname()}
    if name := environ.get(heartbeat.WORKER_NAME):
        fields["worker"] = name
    if (slot := environ.get(heartbeat.SLOT, "")).isdigit():
        fields["slot"] = int(slot)
    return fields


def lines(environ: Mapping[str, str], redact: Redactor, *, debug: bool) -> Lines:
    return Lines(always(environ), redact, tracebacks=debug)


def start(level: str, lines: Lines) -> LogQueue:
    """Install the one handler. It comes before the user's agent, whose basicConfig() then changes nothing."""
    handler = LogQueue(outlet(1), lines)
    _install(handler, level)
    return handler


def start_in_template(level: str) -> None:
    """The same where nothing may have a thread, because workers are forked from it: `start` follows in each of them."""
    _install(UnqueuedLog(outlet(1), lines(os.environ, redactor(os.environ), debug=level == "debug")), level)


def leave_to_livekit() -> None:
    """In a server of job processes: their records take LiveKit's way to the worker, and no other beside it."""
    logging.getLogger().handlers.clear()


def start_in_job(room: str, job: str) -> None:
    """In a job process, in the context of its call: whatever it logs from here on says which call it is about."""
    import structlog

    through_logging()
    for handler in logging.getLogger().handlers:
        if not any(isinstance(each, ContextFields) for each in handler.filters):
            handler.addFilter(ContextFields())
    structlog.contextvars.bind_contextvars(room=room, job=job)


def _install(handler: logging.Handler, level: str) -> None:
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    # LiveKit's own records follow the root; `livekit` above is its native library, which is talkative
    logging.getLogger("livekit.agents").setLevel(number)
    logging.captureWarnings(True)
    sys.excepthook = _unexpected
    through_logging()


def _unexpected(kind: type[BaseException], exc: BaseException, trace: Any) -> None:
    logging.getLogger("mindbot_worker").critical("unexpected error", exc_info=(kind, exc, trace))


def say_on_stderr(lines: Lines, record: logging.LogRecord) -> None:
    """The line that a person, or the supervisor's tail of stderr, is to see at the end."""
    outlet(2).write(lines.of(record), 0.5)
