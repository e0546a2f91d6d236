"""What commands print: each line goes through `printable`, so that no text of others acts on the terminal."""

from __future__ import annotations

import os
import sys
from typing import Any

from mindbot_config.output import strict_json
from mindbot_config.output.printable import printable

DUMB = ("dumb", "unknown")
"""Terminals (TERM) that can do nothing but print."""


def say(*lines: str) -> None:
    """Lines on standard output."""
    for line in lines:
        sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """One line of strict JSON in ASCII, in which no character acts on a terminal."""
    sys.stdout.write(f"{strict_json.dumps(value, ascii_only=True)}\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """A line for people beside the output, on standard error."""
    sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()


def on_terminal() -> bool:
    """Whether tables and help may have lines and colours: on a terminal, or where FORCE_COLOR asks for them."""
    if os.environ.get("TERM", "").lower() in DUMB:
        return False
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))
