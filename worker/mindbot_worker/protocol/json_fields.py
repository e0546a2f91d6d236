"""Reads typed values out of a JSON object that a worker has sent, and refuses what has the wrong type or size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT_MAX = 512
"""Characters of a text; the rest is cut off."""
LIST_MAX = 1024
"""Entries of a list; a longer one is refused."""


class BadBeat(ValueError):
    """A line that cannot be a heartbeat; the message says what is wrong with it."""


@dataclass(slots=True)
class Fields:
    """Reads typed values out of one JSON object. A missing key or null is the default; a wrong type raises BadBeat.

    A default of None means that the key is required.
    """

    values: Mapping[str, Any]
    where: str

    def names(self) -> list[str]:
        return list(self.values)

    def _get(self, key: str, required: bool) -> Any:
        value = self.values.get(key)
        if value is None and required:
            raise BadBeat(f"{self.where}{key} is missing")
        return value

    def text(self, key: str, default: str | None = "") -> str:
        value = self._get(key, default is None)
        if value is None:
            return default or ""
        if not isinstance(value, str):
            raise BadBeat(f"{self.where}{key} is not a string")
        return value[:TEXT_MAX]

    def count(self, key: str, default: int | None = 0) -> int:
        value = self.values.get(key)
        if type(value) is int and 0 <= value < 2**53:  # nearly always
            return value
        value = self._get(key, default is None)
        if value is None:
            return default or 0
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
            raise BadBeat(f"{self.where}{key} is not a whole number of 0 or more")
        return value

    def number_or_none(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e15:
            raise BadBeat(f"{self.where}{key} is not a number")
        return float(value) if math.isfinite(value) else 0.0

    def number(self, key: str) -> float:
        return self.number_or_none(key) or 0.0

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise BadBeat(f"{self.where}{key} is neither true nor false")
        return value

    def pid(self, key: str) -> int | None:
        value = self.values.get(key)
        return None if value is None else _pid(value, f"{self.where}{key}")

    def pids(self, key: str) -> tuple[int, ...]:
        return tuple(_pid(value, f"{self.where}{key}") for value in self._list(key))

    def object(self, key: str) -> Fields:
        value = self.values.get(key, {})
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise BadBeat(f"{self.where}{key} is not an object")
        return Fields(value, f"{self.where}{key}.")

    def objects(self, key: str) -> list[Fields]:
        items = self._list(key)
        if not all(isinstance(item, dict) for item in items):
            raise BadBeat(f"{self.where}{key} holds something that is not an object")
        return [Fields(item, f"{self.where}{key}.") for item in items]

    def _list(self, key: str) -> list[Any]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise BadBeat(f"{self.where}{key} is not a list")
        if len(value) > LIST_MAX:
            raise BadBeat(f"{self.where}{key} has more than {LIST_MAX} entries")
        return value


def _pid(value: object, name: str) -> int:
    # 0 and 1 would name our own group and init: a beat must never make us touch those.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 < value < 2**31:
        raise BadBeat(f"{name} is not a process id")
    return value
