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

KINDS = frozenset(
    {"llm", "stt", "tts", "vad", "realtime_model", "connection", "disconnects", "voice", "agent", "job", "call"}
)
"""Kinds of errors that our own workers count."""
PROVIDERS = frozenset({"openai", "deepgram", "livekit"})
OTHERS_MAX = 16
"""Further values of a label: an agent's own kinds of errors, another provider."""
OTHER = "other"
NAME_MAX = 64
"""Characters of a label's value."""

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


class Names:
    """The values that a label may have, which workers choose: known ones, the first others, and OTHER for the rest.

    Each different value costs memory here and in Prometheus, for ever.
    """

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._others: set[str] = set()

    def of(self, name: str) -> str:
        name = name[:NAME_MAX].encode(errors="replace").decode()  # no lone surrogates: they cannot be sent
        if name in self._known or name in self._others:
            return name
        if len(self._others) >= OTHERS_MAX:
            return OTHER
        self._others.add(name)
        return name


class Metrics:
    """Counts since the daemon began, or since it was upgraded: whoever collects them knows such a fresh start."""

    def __init__(self) -> None:
        self.restarts: Counter[str] = Counter()
        self.errors: Counter[tuple[int, str]] = Counter()
        """By slot and kind: those of all workers that were in the slot."""
        self.ready, self.recovery = Histogram(), Histogram()
        self.providers = Names(PROVIDERS)
        self._kinds = Names(KINDS)
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
            self.errors[ref.slot, self._kinds.of(kind)] += max(count - seen.get(kind, 0), 0)
        self._errors_seen[ref] = beat.errors_by


def _add(histogram: Histogram, seconds: object) -> None:
    if isinstance(seconds, int | float):
        histogram.add(seconds)
