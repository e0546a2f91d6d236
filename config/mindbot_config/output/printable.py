"""Makes text of others (callers, workers, agents, files) safe to show: the one function for all that people are shown.

A terminal acts on control characters: `ESC[2J` clears it, `ESC]0;` renames its window, CR writes over the line, and
U+202E turns the rest of it round. They are written as Python writes them in a string (`\\x1b`, `\\r`, `\\u202e`), so
that they are seen and do nothing. What is already escaped stays as it is: escaping twice does no harm.
"""

from __future__ import annotations

import re
from typing import Any

UNSAFE = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: ESC and CSI among them
    r"\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u206f\ufeff"  # invisible, or turning the text round
    r"\u2028-\u202e\ufff9-\ufffb"  # ends of lines and paragraphs, directions, annotations
    r"\ud800-\udfff"  # surrogates without their other half: no encoding has them
    r"\U000e0000-\U000e007f"  # invisible copies of ASCII
)
"""Characters that move the cursor, change the title, turn the direction of the text or cannot be encoded."""

_ANY = re.compile(f"[{UNSAFE}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TAB = 4
"""Columns of a tab in text of several lines."""


def printable(text: object) -> str:
    """The text as one line that no terminal acts on. Letters of every language stay as they are."""
    return _ANY.sub(_escape, str(text))


def printable_lines(text: object) -> list[str]:
    """Text of several lines, such as a stack, line by line; only \\n and \\r\\n separate them."""
    return [printable(line.removesuffix("\r").expandtabs(_TAB)) for line in str(text).split("\n")]


def printable_values(value: Any) -> Any:
    """A copy of a decoded JSON value in which every string, keys included, is `printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): printable_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(each) for each in value]
    return value


def _escape(found: re.Match[str]) -> str:
    char = found.group()
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
