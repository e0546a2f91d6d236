"""The structlog processors that every log record passes, in the daemon, the template, the workers and their jobs.

In a worker they belong to a `ProcessorFormatter`, so that records of the standard library's logging (LiveKit's and the
agent's own) take the same way as those of structlog; in the daemon to its one structlog logger. structlog is imported
inside functions: it takes as long to load as the rest of a short command.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from mindbot_config.output import strict_json
from mindbot_config.output.printable import printable_values
from mindbot_config.output.redaction import Redactor

if TYPE_CHECKING:
    from structlog.typing import Processor

Record = MutableMapping[str, Any]

FIRST = ("timestamp", "level", "event", "host", "worker", "slot", "pid", "reason")
"""What a reader looks for first (the public contract)."""

EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
"""An event's name, as opposed to a sentence."""


class Origin:
    """Adds what every record of this process carries. A field of somebody else's with such a name gets another one."""

    def __init__(self, always: Mapping[str, Any]) -> None:
        self._always = dict(always)

    def __call__(self, _: Any, __: str, record: Record) -> Record:
        for name, value in self._always.items():
            if record.get(name, value) != value:
                record[f"{name}_"] = record[name]
            record[name] = value
        return record


class Mask:
    """Takes the secrets out; which ones may change while the process runs."""

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor

    def __call__(self, _: Any, __: str, record: Record) -> Record:
        clean: Record = self.redactor.clean(record)
        return clean


def in_order(_: Any, __: str, record: Record) -> Record:
    """What a reader looks for first comes first; what is not known is left out."""
    ordered = {key: record[key] for key in FIRST if record.get(key) is not None}
    ordered |= {key: value for key, value in record.items() if key not in ordered and value is not None}
    return ordered


def to_json(_: Any, __: str, record: Record) -> str:
    """One JSON object on one line."""
    return strict_json.dumps(record)


def to_console(*, colors: bool) -> Processor:
    """One readable line, for people on a terminal: the words first, and without the host, which they know."""
    import structlog

    render = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)

    def readable(logger: Any, level: str, record: Record) -> str:
        shown = printable_values(dict(record))
        shown.pop("host", None)
        words = shown.pop("message", None) or shown.pop("text", None)
        if words is not None:
            shown["event"] = f"{shown['event']}: {words}"
        return str(render(logger, level, shown))

    return readable


def formatter(
    first: Sequence[Processor], always: Mapping[str, Any], mask: Mask, last: Sequence[Processor]
) -> logging.Formatter:
    """Makes the lines of a logging handler. The first of `first` is a `log_records.Fields`; the last one renders."""
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, *first],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            Origin(always),
            in_order,
            mask,
            *last,
        ],
    )
