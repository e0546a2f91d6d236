"""Reads the `--name VALUE` flags with which the supervisor starts the worker, the template and the stand-ins."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

USAGE = 2


def read(program: str, known: Mapping[str, str | int], argv: Sequence[str]) -> dict[str, Any]:
    """The value of each known flag, by its name without dashes. `known` has their values where none are given.

    For anything else the program ends with exit code 2 and one line that names its flags.
    """
    values: dict[str, Any] = dict(known)
    rest = list(argv)
    while rest:
        flag, given, value = rest.pop(0).partition("=")
        name = flag.removeprefix("--")
        if not flag.startswith("--") or name not in known or not (given or rest):
            _refuse(program, known, f"cannot use {flag!a}")
        text = value if given else rest.pop(0)
        if isinstance(known[name], int) and not (text.isascii() and text.isdecimal()):
            _refuse(program, known, f"{flag} must be a whole number, not {text!a}")
        values[name] = type(known[name])(text)
    return values


def _refuse(program: str, known: Mapping[str, str | int], why: str) -> None:
    flags = " ".join(f"[--{each} VALUE]" for each in known)
    sys.stderr.write(f"{program}: {why}; usage: python -m {program} {flags}\n")
    sys.exit(USAGE)
