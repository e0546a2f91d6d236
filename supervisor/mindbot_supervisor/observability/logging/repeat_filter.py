"""What was told already: the same thing again within a while is counted instead, and told once at its end."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

KEYS_MAX = 1024
"""Different things remembered at one time; beyond that everything is taken for new."""

Record = Mapping[str, object]


@dataclass(slots=True)
class _Told:
    until: float
    last: Record
    again: int = 0


class Repeats:
    """Pure: it is told the time. `window` is how many seconds a record keeps its like from being told again."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._told: dict[Hashable, _Told] = {}

    def is_new(self, key: Hashable, record: Record, now: float) -> bool:
        """Whether to tell this record now; otherwise it is counted."""
        told = self._told.get(key)
        if told is not None and now < told.until:
            told.last, told.again = record, told.again + 1
            return False
        if told is not None or len(self._told) < KEYS_MAX:
            self._told[key] = _Told(now + self._window, record)
        return True

    def over(self, now: float) -> Iterator[tuple[Record, int]]:
        """For each thing whose time is up and that came again: its last record, and how often it came again."""
        for key, told in list(self._told.items()):
            if now >= told.until:
                del self._told[key]
                if told.again:
                    yield told.last, told.again

    def rest(self) -> Iterator[tuple[Record, int]]:
        """The same for everything, at the end."""
        yield from self.over(float("inf"))

    def wake_at(self) -> float | None:
        """When something is over next."""
        return min((told.until for told in self._told.values()), default=None)
