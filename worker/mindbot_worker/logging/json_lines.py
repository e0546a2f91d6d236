"""Renders a log record as one JSON object on one line (contract, section Log)."""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mindbot_worker.logging.redaction import Redactor

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


WORKER_LOG = "worker.log"
"""The event of a record that names none: something LiveKit, a library or the user's agent logged."""

_TEXT_MAX = 8192
_SPOKEN = re.compile(r'(were pushed for text: )(?:[^"\\]|\\.)*')
"""LiveKit puts what was to be spoken into the error of a voice that said nothing (tts/tts.py, 1.8.9)."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_RENAMED = {"job_id": "job"}
_PERSONAL = "lk.pii."
"""How LiveKit marks what callers said, and other personal data, in its own records."""


class Lines:
    """Makes the lines of one process; `always` is what every line carries (host, worker, slot)."""

    def __init__(self, always: Mapping[str, Any], redact: Redactor, *, tracebacks: bool) -> None:
        self._always = dict(always)
        self._redact = redact
        self._tracebacks = tracebacks

    def of(self, record: logging.LogRecord) -> bytes:
        """Never raises: a record that cannot be written becomes a line that says so."""
        try:
            fields = self._fields(record)
        except Exception as exc:
            fields = {"level": "error", "event": WORKER_LOG, "message": f"cannot write a log record: {exc!r}"}
        line = _SPOKEN.sub(r"\1…", self._redact(json.dumps(fields, default=_text, ensure_ascii=False)))
        return line.encode("utf-8", "backslashreplace") + b"\n"

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        message = record.getMessage()
        if record.exc_text and message.endswith(record.exc_text):
            # LiveKit appends the traceback to the message of a record that comes from a job process
            message = message[: -len(record.exc_text)].rstrip()
        extras = {_RENAMED.get(k, k): _value(v) for k, v in vars(record).items() if _is_extra(k)}
        event = str(extras.pop("event", WORKER_LOG))
        fixed = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": logging.getLevelName(level(record)).lower(),
            "event": event,
            "message": _shorten(message),
            "logger": record.name,
            **self._always,
            "pid": extras.pop("pid", record.process),
            **self._error(record),
        }
        # what a library calls `level` or `error` is no less its own for that
        return fixed | {f"{key}_" if key in fixed else key: value for key, value in extras.items()}

    def _error(self, record: logging.LogRecord) -> dict[str, str]:
        exc = record.exc_info[1] if record.exc_info else None
        if exc is not None:
            summary, full = summarise(exc), "".join(traceback.format_exception(exc))
        elif record.exc_text:
            summary, full = record.exc_text.strip().rpartition("\n")[2].strip(), record.exc_text
        else:
            return {}
        wanted = self._tracebacks or record.levelno >= logging.ERROR
        return {"error": summary} | ({"traceback": _shorten(full)} if wanted else {})


def _is_extra(name: str) -> bool:
    return name not in _STANDARD and not name.startswith(_PERSONAL)


def summarise(exc: BaseException) -> str:
    """`exc` in one line: what, why and where it was raised, e.g. `ValueError: no such voice (agent.py:12)`."""
    reason = " ".join(str(exc).split())
    said = f"{type(exc).__name__}: {reason}" if reason else type(exc).__name__
    where = _raised_at(exc)
    return f"{said} ({where})" if where else said


def _raised_at(exc: BaseException) -> str:
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if not frame.filename.startswith("<")]
    if not frames:
        return ""
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    last = (own or frames)[-1]
    return f"{_relative(last.filename)}:{last.lineno}"


def _relative(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return _shorten(value)
    if isinstance(value, float) and value - value != 0:
        return str(value)  # JSON has neither NaN nor infinity
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, BaseException):
        return summarise(value)
    if isinstance(value, Mapping):
        return {str(key): _value(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(each) for each in value]
    return _shorten(_text(value))


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _shorten(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}… ({len(text)} characters)"
