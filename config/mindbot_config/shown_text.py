"""Makes text of others (callers, workers, agents, files) safe to show: the one function for all that is shown.

A terminal acts on control characters: `ESC[2J` clears it, `ESC]0;` renames its window, CR writes over the line, and
U+202E turns the rest of it round. They are written as Python writes them in a string (`\\x1b`, `\\r`, `\\u202e`), so
that they are seen and do nothing. What is already escaped stays as it is: escaping twice does no harm.
"""

from __future__ import annotations

import re

UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f"  # C0 with newline and tab, and DEL
    "\x80-\x9f"  # C1: 0x9b is ESC[ in one character
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u206f\ufeff"  # invisible; U+061C, U+200E and U+200F turn text round
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u202a-\u202e"  # bidirectional embeddings and overrides; the isolates U+2066-2069 are above
    "\ud800-\udfff"  # lone surrogates: no encoding can write them
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations and tags: text that is not seen
    "]"
)
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
TAB = 4
"""Columns of a tab in text of several lines."""


def shown(text: str) -> str:
    """The text as one line that no terminal acts on. Letters of every language stay as they are."""
    return UNSAFE.sub(_escape, text)


def shown_lines(text: str) -> list[str]:
    """Text of several lines, such as a stack, line by line; only \\n and \\r\\n separate them."""
    return [shown(line.removesuffix("\r").expandtabs(TAB)) for line in text.split("\n")]


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if code <= 0xFF:
        return SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
