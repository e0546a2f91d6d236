"""[log]: what is written to the log, and where."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from mindbot_config.sections.base import OptionalPath, Section


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]


class Log(Section):
    """What is written to the log, and where."""

    level: Level = "info"
    """The least important records that are written. "debug" adds what helps to find a fault."""
    format: Literal["json", "console"] = "json"
    """"json": one object a line, for machines. "console": coloured lines, for people."""
    file: OptionalPath = None
    """Write the log to this file too; empty: to standard output only."""
    log_transcripts: bool = False
    """Write what callers and agents say. Off by default: it is personal data."""
