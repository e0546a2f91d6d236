"""What metrics count that no status shows: kept from changes and heartbeats, rendered by `exposition`."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mindbot_supervisor.core import events
from mindbot_supervisor.core.history import History
from mindbot_supervisor.core.model import Change, Reason, Ref
from mindbot_worker.wire import Beat

SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
"""Upper bounds: from a call's recovery, which takes some 0.3 s, to a worker on a busy host that imports everything."""

_NO_RESTART = frozenset({Reason.STOP.value, Reason.SCALE.value})
"""Nobody takes the place of a worker that leaves for these."""


@dataclass(slots=True)
class Histogram:
    """How many values were at most each bound of SECONDS, and how many there were."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


class Metrics:
    """Counts since the daemon began, or since it was upgraded: whoever collects them knows such a fresh start."""

    def __init__(self) -> None:
        self.restarts: Counter[str] = Counter()
        self.errors: Counter[tuple[int, str]] = Counter()
        """By slot and kind: those of all workers that were in the slot."""
        self.ready, self.recovery = Histogram(), Histogram()
        self._errors_seen: dict[Ref, Mapping[str, int]] = {}

    def resume(self, histories: Iterable[tuple[Ref, History]]) -> None:
        """Workers that an earlier version of this daemon knew: their errors so far were counted there."""
        self._errors_seen |= {ref: history.by_seen for ref, history in histories}

    def tell(self, change: Change) -> None:
        if change.event == events.WORKER_READY:
            _add(self.ready, change.fields.get("after"))
        elif change.event == events.CALL_RECOVERED:
            _add(self.recovery, change.fields.get("seconds"))
        elif change.event == events.WORKER_EXITED and change.worker is not None:
            self._errors_seen.pop(change.worker, None)
            reason = str(change.fields.get("reason") or Reason.CRASH.value)
            if reason not in _NO_RESTART:
                self.restarts[reason] += 1

    def beat(self, ref: Ref, beat: Beat) -> None:
        seen = self._errors_seen.get(ref, {})
        if beat.errors_by == seen:
            return
        for kind, count in beat.errors_by.items():
            self.errors[ref.slot, kind] += max(count - seen.get(kind, 0), 0)
        self._errors_seen[ref] = beat.errors_by


def _add(histogram: Histogram, seconds: object) -> None:
    if isinstance(seconds, int | float):
        histogram.add(seconds)
