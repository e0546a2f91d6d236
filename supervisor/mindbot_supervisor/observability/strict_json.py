"""JSON as its standard has it: no NaN, no Infinity, whatever a worker has reported."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: Any) -> str:
    """The value as JSON; numbers that are none become null, and what JSON has no word for becomes text."""
    try:
        return json.dumps(value, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, default=str)


def loads(text: bytes) -> Any:
    """Raises ValueError for what is not strict JSON, however deep it is."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as exc:
        raise ValueError("it is too deep") from exc


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
