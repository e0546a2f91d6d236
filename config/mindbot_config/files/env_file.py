"""Reads an env file: NAME=value lines, by python-dotenv's parser; all of its bad lines are told, with what is wrong.

A line's text is never shown: it may be a secret.
"""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mindbot_config.credentials import NAMES, is_secret_name, secrets_of
from mindbot_config.errors import ConfigError
from mindbot_config.files.read_file import contents, decode

if TYPE_CHECKING:
    from dotenv.parser import Binding

PROBLEMS_MAX = 20
"""Bad lines that are told one by one."""

_NEWLINE = re.compile(r"\r\n|\n|\r")
_ASSIGNED = re.compile(r"\s*(?:export\s+)?(?:'[^']+'|[^=#\s]+)\s*=\s*")
_LINE_OF_ITS_OWN = re.compile(r"(?:\r\n|\n|\r)\s*(?:export\s+)?[A-Z_][A-Z0-9_]*=(?=[^=\s])")
_PLACEHOLDER = re.compile(
    r"(?i)<.*>|(sk-)?x{3,}|\.{3,}|.*change[-_ ]?me.*|placeholder|todo"
    r"|.*your[-_ ]?(api|key|secret|token|own|password|project|openai|deepgram|livekit).*"
)


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The variables in the order of the file, and what its owner should look at."""

    variables: dict[str, str]
    warnings: tuple[str, ...] = ()


def read_env_file(path: Path, label: str) -> EnvFile:
    """Raises ConfigError with every bad line. $NAME is not replaced, `export` is allowed, a later line wins."""
    data, status = contents(label, path)
    found: dict[str, str] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for line, binding in _bindings(decode(label, data)):
        if (fault := _fault(binding)) is not None:
            problems.append(f"{label}, line {line}: {fault}")
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
            warnings += [f"{label}, line {line}: {text}" for text in _doubts(binding.key, binding.value)]
    if problems:
        more = len(problems) - PROBLEMS_MAX
        raise ConfigError(*problems[:PROBLEMS_MAX], *([f"{label}: and {more} more lines"] if more > 0 else []))
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP) and any(secrets_of(*each) for each in found.items()):
        others = "can be written by others" if mode & (stat.S_IWOTH | stat.S_IWGRP) else "can be read by everybody"
        warnings.insert(0, f"{label}: holds secrets and {others} (mode {mode:04o}); make it mode 0600")
    return EnvFile(found, tuple(warnings))


def _bindings(text: str) -> Iterator[tuple[int, Binding]]:
    """Each line with its number. After a bad one the parser goes on with the very next line.

    The parser itself would pass over everything up to the next quote, and so over further bad lines.
    """
    from dotenv.parser import parse_stream

    starts = [0, *(found.end() for found in _NEWLINE.finditer(text))]
    first = bad = 0
    while first < len(starts):
        for binding in parse_stream(io.StringIO(text[starts[first] :], newline="")):
            line = first + binding.original.line - 1 + len(_NEWLINE.findall(_blank(binding.original.string)))
            yield line + 1, binding
            if binding.error and bad <= 2 * PROBLEMS_MAX:  # each costs one look at the rest of the file
                bad, first = bad + 1, line + 1
                break
        else:
            return


def _blank(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def _fault(binding: Binding) -> str | None:
    """What is wrong with a line, or None."""
    text = binding.original.string
    if "\0" in text:
        return "must not contain a NUL character"
    if not binding.error and not (binding.key is not None and binding.value is None):
        return None
    assigned = _ASSIGNED.match(text)
    quote = text[assigned.end() : assigned.end() + 1] if assigned else ""
    if quote in ("'", '"'):
        closed = re.search(rf"(?<!\\){quote}", _NEWLINE.split(text[assigned.end() + 1 :])[0]) if assigned else None
        if closed is None:
            return f"the quote {quote} is not closed"
        return f"there is text after the closing quote {quote}"
    return "must be NAME=value, a comment or empty"


def _doubts(name: str, value: str) -> Iterator[str]:
    """What is allowed and probably not meant."""
    if _LINE_OF_ITS_OWN.search(value):
        yield f"the value of {name} goes on over lines that look like NAME=value; is a quote missing?"
    if (name in NAMES or is_secret_name(name)) and _PLACEHOLDER.fullmatch(value.strip()):
        yield f"{name} still has a placeholder for its value"
