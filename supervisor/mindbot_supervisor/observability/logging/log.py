"""The daemon's log: what happens, what the core decides and what the workers say becomes records, in one order.

The contract's fields come first in each record; `log_pipeline` has the processors that make a line of it.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from mindbot_config.output.log_chain import Mask
from mindbot_config.output.redaction import Redactor
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Ref

if TYPE_CHECKING:
    from mindbot_supervisor.observability.logging.log_pipeline import DaemonLogger, RateLimit

LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}
SECRETS_MAX = 512
"""Secret values that are remembered; what is no longer in the environment may still be in an old worker's."""
_DROPPABLE = frozenset({log_events.WORKER_LOG, log_events.WORKER_OUTPUT})


class Lines(Protocol):
    """Takes finished lines, and never blocks."""

    def put(self, line: bytes, *, droppable: bool = False) -> None: ...


class Logs:
    """Writes records. `note` is for the daemon's own events, `change` for the core's, `output` for the workers'.

    Until `begin` records are only kept: structlog is loaded there, and the first workers do not wait for it.
    """

    def __init__(self, sink: Lines, *, level: str, style: str, redactor: Redactor, now: Callable[[], datetime]) -> None:
        self._sink, self._style, self._now = sink, style, now
        self._mask = Mask(redactor)
        self.offer: Callable[[str, str, Mapping[str, object]], None] = lambda level, event, fields: None
        """Is handed every event before its level is looked at; of the workers' own only the errors of agents."""
        self._threshold = LEVELS[level]
        self._host = platform.node()
        self._logger: DaemonLogger | None = None
        self._limit: RateLimit | None = None
        self._kept: list[tuple[str, str, dict[str, object], bool]] = []

    def begin(self) -> None:
        """Load structlog, and write what was kept so far."""
        if self._logger is not None:
            return
        from mindbot_supervisor.observability.logging.log_pipeline import RateLimit, install

        self._limit = RateLimit()
        self._logger = install(self._sink.put, host=self._host, style=self._style, mask=self._mask, limit=self._limit)
        kept, self._kept = self._kept, []
        for level, event, fields, droppable in kept:
            self._logger.record(level, event, fields, droppable=droppable)

    def set_level(self, level: str) -> None:
        self._threshold = LEVELS[level]

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these values from now on, besides those that are known already."""
        known = self._mask.redactor.values
        more = frozenset(secrets)
        self._mask.redactor = Redactor(more | known if len(more | known) <= SECRETS_MAX else more)

    def redactor(self) -> Redactor:
        """The one in force."""
        return self._mask.redactor

    def mask(self, text: str) -> str:
        """The text without secrets."""
        return self._mask.redactor(text)

    def clean(self, value: Any) -> Any:
        """A JSON value without secrets."""
        return self._mask.redactor.clean(value)

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

    def tick(self, *, all_of_it: bool = False) -> None:
        """Once a second or so: tell what was only counted. `all_of_it` at the end."""
        for fields in self._limit.summaries(all_of_them=all_of_it) if self._limit is not None else ():
            self._write("warning", log_events.LOG_SUPPRESSED, fields)

    def _write(self, level: str, event: str, fields: Mapping[str, object], *, droppable: bool = False) -> None:
        if LEVELS.get(level, logging.INFO) < self._threshold:
            return
        stamp = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        whole = {**fields, "timestamp": stamp, "level": level, "host": self._host}
        if self._logger is None:
            self._kept.append((level, event, whole, droppable))
        else:
            self._logger.record(level, event, whole, droppable=droppable)


def utc_now() -> datetime:
    return datetime.now(UTC)
