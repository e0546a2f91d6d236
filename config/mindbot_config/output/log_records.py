"""Between the standard library's logging and structlog: records as fields, and what structlog is told as records."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mindbot_config.output.log_chain import EVENT, Record
from mindbot_config.output.strict_json import text_of

TEXT_MAX = 8192
"""Characters of one text that are written."""
MASKED_MAX = 8 * TEXT_MAX
"""Characters that are looked through for secrets before that: what is cut first could hide the half of one."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_RENAMED = {"job_id": "job"}
_PERSONAL = "lk.pii."
"""How LiveKit marks what callers said, and other personal data, in its own records."""
_META = ("_record", "_from_structlog")
"""What ProcessorFormatter itself adds to a record, and takes away later."""
_OF_FORMATTER = frozenset({*_META, "event", "exc_info", "stack_info"})


class Fields:
    """A processor. `event` is that of records which name none; `level_of` may write a record at another level."""

    def __init__(
        self,
        event: str,
        *,
        tracebacks: bool = False,
        level_of: Callable[[logging.LogRecord], int] = lambda record: record.levelno,
    ) -> None:
        self._event, self._tracebacks, self._level_of = event, tracebacks, level_of

    def __call__(self, _: Any, __: str, given: Record) -> Record:
        record: logging.LogRecord = given["_record"]
        bound = {name: value for name, value in given.items() if name not in _OF_FORMATTER}
        message = str(given["event"])
        if record.exc_text and message.endswith(record.exc_text):
            # LiveKit appends the traceback to the message of a record that comes from a job process
            message = message[: -len(record.exc_text)].rstrip()
        extras = bound | {_RENAMED.get(k, k): plain(v) for k, v in vars(record).items() if _is_extra(k)}
        event = str(extras.pop("event", "") or (message if EVENT.fullmatch(message) else self._event))
        fixed = {
            "timestamp": stamp(record.created),
            "level": logging.getLevelName(self._level_of(record)).lower(),
            "event": event,
            "message": message[:MASKED_MAX],
            "logger": record.name,
            "pid": extras.pop("pid", record.process),
            **self._error(record),
        }
        # what a library calls `level` or `error` is no less its own for that
        fixed |= {f"{key}_" if key in fixed else key: value for key, value in extras.items()}
        return fixed | {name: given[name] for name in _META}

    def _error(self, record: logging.LogRecord) -> dict[str, str]:
        exc = record.exc_info[1] if record.exc_info else None
        if exc is not None:
            summary, full = summarise(exc), "".join(traceback.format_exception(exc))
        elif record.exc_text:
            summary, full = record.exc_text.strip().rpartition("\n")[2].strip(), record.exc_text
        else:
            return {}
        wanted = self._tracebacks or record.levelno >= logging.ERROR
        return {"error": summary} | ({"traceback": full[:MASKED_MAX]} if wanted else {})


def stamp(seconds: float) -> str:
    """A moment in UTC, as every log record has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_extra(name: str) -> bool:
    return name not in _STANDARD and not name.startswith((_PERSONAL, "_"))


def summarise(exc: BaseException) -> str:
    """`exc` in one line: what, why and where it was raised, e.g. `ValueError: no such voice (agent.py:12)`."""
    reason = " ".join(text_of(exc).split())
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


def plain(value: Any) -> Any:
    """An extra of any kind as JSON has it."""
    if isinstance(value, float) and value - value != 0:
        return str(value)  # JSON has neither NaN nor infinity
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, BaseException):
        return summarise(value)
    if isinstance(value, Mapping):
        return {text_of(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return text_of(value)[:MASKED_MAX]


def shortened(_: Any, __: str, record: Record) -> Record:
    """A processor, after the one that masks: texts as long as they are written."""
    return {key: _short(value) for key, value in record.items()}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX else f"{value[:TEXT_MAX]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value]
    return value


def through_logging() -> None:
    """Configure structlog for this process, unless the agent has done so: what is logged with it becomes a record of
    the standard library's logging, with all that was bound, and takes the way of all others from there: that of a job
    process to its worker, too.
    """
    import structlog

    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            _fit_for_logging,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _fit_for_logging(_: Any, __: str, record: Record) -> Record:
    """A field that is called as one of logging's own would be refused by it, and not every object can be sent."""
    passed = {name: record[name] for name in ("event", "exc_info", "stack_info", "stacklevel") if name in record}
    rest = {name: value for name, value in record.items() if name not in passed}
    return passed | {f"{name}_" if name in _STANDARD else name: plain(value) for name, value in rest.items()}


class ContextFields(logging.Filter):
    """Puts what is bound to the context (`structlog.contextvars`) on records that leave the process as they are.

    LiveKit sends the records of a job process to its worker, where nothing is known of the job's context any more.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        import structlog

        for name, value in structlog.contextvars.get_contextvars().items():
            vars(record).setdefault(name, plain(value))
        return True
