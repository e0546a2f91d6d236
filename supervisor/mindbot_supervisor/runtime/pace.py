"""Several recoveries at once share the CPU with the agents that they wait for, so that each looks less often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

OFTEN = 2
"""So many attempts at once may look as often as they like; more of them take turns. One look takes 2 ms of CPU, half of
it livekit-server's."""


class Pace:
    """Shared by all attempts of one pool."""

    def __init__(self) -> None:
        self._under_way = 0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """For as long as it is under way."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def between_looks(self, seconds: float) -> float:
        """How long to wait between two looks if one alone would wait so long."""
        return seconds * max(self._under_way / OFTEN, 1.0)
