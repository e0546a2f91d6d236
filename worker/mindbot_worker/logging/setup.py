"""Puts the log of this process in order: JSON lines on stdout, at the level that the settings ask for."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Mapping
from typing import Any

from mindbot_worker.logging.json_lines import Lines
from mindbot_worker.logging.log_queue import LogQueue
from mindbot_worker.logging.nonblocking_output import outlet
from mindbot_worker.logging.redaction import Redactor
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
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = LogQueue(outlet(1), lines)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    # LiveKit's own records follow the root; `livekit` above is its native library, which is talkative
    logging.getLogger("livekit.agents").setLevel(number)
    logging.captureWarnings(True)
    sys.excepthook = _unexpected
    return handler


def _unexpected(kind: type[BaseException], exc: BaseException, trace: Any) -> None:
    logging.getLogger("mindbot_worker").critical("unexpected error", exc_info=(kind, exc, trace))


def say_on_stderr(lines: Lines, record: logging.LogRecord) -> None:
    """The line that a person, or the supervisor's tail of stderr, is to see at the end."""
    outlet(2).write(lines.of(record), 0.5)
