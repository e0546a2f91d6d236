"""The one function with which everything we write as JSON is written: strict JSON, whatever the value is.

It never raises. NaN and infinity become null, a surrogate without its other half is escaped, and so is whatever a
terminal would obey (`printable`), since people read JSON lines on terminals.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Mapping, Set
from typing import Any

from mindbot_config.output.printable import UNSAFE

DEPTH_MAX = 64
"""Levels of nesting that are written; what lies deeper becomes "…"."""
INT_DIGITS_MAX = 4000
"""Digits of an integer that are written; Python itself refuses to write more than 4300."""
_INT_MAX = 10**INT_DIGITS_MAX
_ROWS = (list, tuple, Set, deque)

_UNSAFE = re.compile(f"[{UNSAFE}]")
_UNSAFE_OR_NOT_ASCII = re.compile(r"[^\x20-\x7e]")


def dumps(value: Any, *, compact: bool = False, ascii_only: bool = False) -> str:
    """`value` as JSON on one line. What JSON does not have is written as its text."""
    encode = _COMPACT if compact else _SPACED
    try:
        text = encode(value)
    except (ValueError, TypeError, RecursionError, OverflowError):
        text = encode(_plain(value, DEPTH_MAX))
    if text.isascii() and "\x7f" not in text:
        return text
    return (_UNSAFE_OR_NOT_ASCII if ascii_only else _UNSAFE).sub(_escape, text)


def dump_bytes(value: Any, *, compact: bool = False) -> bytes:
    """The same in UTF-8."""
    return dumps(value, compact=compact).encode()


def loads(text: str | bytes) -> Any:
    """Strict JSON only. Raises ValueError, and nothing else, for anything that is none."""
    try:
        return _DECODER.decode(text.decode() if isinstance(text, bytes) else text)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def text_of(value: Any) -> str:
    """`str(value)` of an object that may fail even at that."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _instead(value: Any) -> Any:
    """What is written for an object that JSON does not have."""
    return list(value) if isinstance(value, _ROWS) else text_of(value)


def _not_json(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_not_json)
_SPACED = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_instead).encode
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_instead, separators=(",", ":")).encode


def _plain(value: Any, depth: int) -> Any:
    """A copy with nothing in it that JSON lacks."""
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT_MAX < value < _INT_MAX else f"an integer of over {INT_DIGITS_MAX} digits"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth <= 0:
        return "…"
    if isinstance(value, Mapping):
        return {_key(key): _plain(each, depth - 1) for key, each in value.items()}
    if isinstance(value, _ROWS):
        return [_plain(each, depth - 1) for each in value]
    return text_of(value)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else text_of(key)


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
