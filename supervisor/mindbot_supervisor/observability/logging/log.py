"""The log: one JSON object a line (or one readable line on a terminal, by structlog), made from changes and fields."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_supervisor.observability.logging.log_sink import Sink
from mindbot_supervisor.observability.logging.redaction import Redactor

LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}
_FIRST = ("timestamp", "level", "event", "host", "worker", "slot", "pid", "reason")
_DROPPABLE = frozenset({log_events.WORKER_LOG, log_events.WORKER_OUTPUT})

Record = MutableMapping[str, Any]


class Logs:
    """Writes records. `note` is for the daemon's own events, `change` for the core's, `output` for the workers'."""

    def __init__(self, sink: Sink, *, level: str, style: str, redactor: Redactor, now: Callable[[], datetime]) -> None:
        self._sink, self._redact, self._now = sink, redactor, now
        self.offer: Callable[[str, str, Mapping[str, object]], None] = lambda level, event, fields: None
        """Is handed every event before its level is looked at; of the workers' own only the errors of agents."""
        self._threshold = LEVELS[level]
        self._host = platform.node()
        self._render = _console() if style == "console" else _json

    def set_level(self, level: str) -> None:
        self._threshold = LEVELS[level]

    def set_redactor(self, redactor: Redactor) -> None:
        self._redact = redactor

    def mask(self, text: str) -> str:
        """The text without secrets."""
        return self._redact(text)

    def note(self, event: str, level: str = "info", /, **fields: object) -> None:
        self.offer(level, event, fields)
        self._write(level, event, fields)

    def change(self, change: Change) -> None:
        who: dict[str, object] = {}
        if change.worker is not None:
            who = {"worker": str(change.worker), "slot": change.worker.slot}
        if change.pid is not None:
            who["pid"] = change.pid
        fields = {**who, **change.fields}
        self.offer(change.level, change.event, fields)
        self._write(change.level, change.event, fields)

    def output(self, ref: Ref, pid: int, level: str, event: str, fields: Mapping[str, object]) -> None:
        who = {"worker": str(ref), "slot": ref.slot, "pid": pid}
        whole = {**fields, **who}
        if event == log_events.AGENT_ERROR:
            self.offer(level, event, whole)
        self._write(level, event, whole, droppable=event in _DROPPABLE)

    def _write(self, level: str, event: str, fields: Mapping[str, object], *, droppable: bool = False) -> None:
        if LEVELS.get(level, logging.INFO) < self._threshold:
            return
        record = _order(self._stamp(level, {**fields, "event": event}))
        line = self._redact(self._render(level, record))
        self._sink.put(line.encode(errors="replace") + b"\n", droppable=droppable)

    def _stamp(self, level: str, record: Record) -> Record:
        record["timestamp"] = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record["level"] = level
        record["host"] = self._host
        return record


def utc_now() -> datetime:
    return datetime.now(UTC)


def _order(record: Record) -> Record:
    """What a reader looks for first comes first; what is not known is left out."""
    ordered = {key: record[key] for key in _FIRST if record.get(key) is not None}
    ordered |= {key: value for key, value in record.items() if key not in ordered and value is not None}
    return ordered


def _json(_: str, record: Record) -> str:
    return json.dumps(record, separators=(", ", ": "), default=str, ensure_ascii=False)


def _console() -> Callable[[str, Record], str]:
    import structlog  # brings a good deal along, for people's eyes only

    render = structlog.dev.ConsoleRenderer(colors=os.isatty(1), sort_keys=False)

    def readable(level: str, record: Record) -> str:
        """People read the words first, and know which host they are on."""
        record.pop("host", None)
        words = record.pop("message", None) or record.pop("text", None)
        if words is not None:
            record["event"] = f"{record['event']}: {words}"
        return render(None, level, record)

    return readable
