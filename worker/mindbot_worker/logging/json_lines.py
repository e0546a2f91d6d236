"""Renders a log record as one JSON object on one line (contract, section Log)."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from typing import Any

from mindbot_config.output import log_chain
from mindbot_config.output.log_records import Fields, shortened, summarise
from mindbot_config.output.redaction import Redactor
from mindbot_worker.protocol.log_messages import WORKER_LOG

_LIVEKIT = "livekit.agents"
_ROUTINE = (
    "starting worker",
    "plugin registered",
    "preloading plugins",
    "HTTP server listening on",
    "initializing process",
    "process initialized",
    "process exiting",
    "draining worker",
    "shutting down worker",
    "adaptive interruption is disabled by default",
    "RoomIO linked to participant",
)
"""How these records of livekit-agents 1.8.9 begin."""
_DEV_SECRET = "InsecureKeyLengthWarning"  # noqa: S105
"""PyJWT's warning about the six letters that `livekit-server --dev` uses as its secret."""


def level(record: logging.LogRecord) -> int:
    """The level a record is written at: DEBUG for routine."""
    if record.levelno == logging.INFO and record.name == _LIVEKIT and str(record.msg).startswith(_ROUTINE):
        return logging.DEBUG
    if record.name == "py.warnings" and _DEV_SECRET in record.getMessage():
        return logging.DEBUG
    return record.levelno


__all__ = ["WORKER_LOG", "Lines", "summarise"]

_SPOKEN = re.compile(r"(were pushed for text: ).*", re.DOTALL)
"""LiveKit puts what was to be spoken into the error of a voice that said nothing (tts/tts.py, 1.8.9)."""


class Lines:
    """Makes the lines of one process; `always` is what every line carries (host, worker, slot)."""

    def __init__(self, always: Mapping[str, Any], redact: Redactor, *, tracebacks: bool) -> None:
        self._always, self._redact, self._tracebacks = always, redact, tracebacks

    @functools.cached_property
    def formatter(self) -> logging.Formatter:
        """Made with the first line: structlog takes as long to load as all that a worker needs for its first beat."""
        fields = Fields(WORKER_LOG, tracebacks=self._tracebacks, level_of=level)
        mask = log_chain.Mask(self._redact)
        return log_chain.formatter([fields, _unspoken], self._always, mask, [shortened, log_chain.to_json])

    def of(self, record: logging.LogRecord) -> bytes:
        """A record that cannot be written becomes a line that says so."""
        formatter = self.formatter
        try:
            line = formatter.format(record)
        except Exception as exc:
            said = f"cannot write a log record: {exc!r}"
            instead = logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, said, None, None)
            line = formatter.format(instead)
        return line.encode() + b"\n"


def _unspoken(_: Any, __: str, record: log_chain.Record) -> log_chain.Record:
    """What a caller was to hear is not for the log."""
    return {key: _SPOKEN.sub(r"\1…", value) if isinstance(value, str) else value for key, value in record.items()}
