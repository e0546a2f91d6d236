"""What all workers together use of their providers: totals, a line a minute, and a word when a budget is exceeded.

Workers tell what each has used since it began. Told the time: `now` is the monotonic clock, `day` the day's number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from mindbot_config.sections.usage import Usage
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.observability.status import Json
from mindbot_worker.protocol import heartbeat

EVERY = 60.0
"""Seconds between two lines, as long as there is news."""
_MINUTE = 60.0

Note = Callable[..., None]
_NOTHING: heartbeat.Usage = {}


class UsageBook:
    """`note(event, level, **fields)` writes to the log."""

    def __init__(self, budgets: Usage, note: Note, now: float) -> None:
        self._note = note
        self._seen: dict[Ref, heartbeat.Usage] = {}
        self._total = self._told = _NOTHING
        self._tell_at = now + EVERY
        self._day: int | None = None
        self._today = _NOTHING
        self._requests: deque[tuple[float, float]] = deque()
        self.follow(budgets)

    def follow(self, budgets: Usage) -> None:
        """New budgets; what is over one of them is said again."""
        self._budgets = budgets
        self._over: set[str] = set()

    def resume(self, seen: Iterable[tuple[Ref, heartbeat.Usage]]) -> None:
        """Workers that an earlier version of this daemon knew: what they used before is none of this minute's."""
        self._seen |= dict(seen)
        self._told = self._total = heartbeat.added([self._total, *self._seen.values()])

    def beat(self, ref: Ref, beat: heartbeat.Beat, now: float) -> None:
        before = self._seen.get(ref, {})
        if beat.usage == before:
            return
        self._seen[ref] = beat.usage
        more = heartbeat.grown(before, beat.usage)
        self._total = heartbeat.added([self._total, more])
        self._today = heartbeat.added([self._today, more])
        if requests := more.get("openai", {}).get("requests"):
            earlier = self._requests.pop()[1] if self._requests and int(self._requests[-1][0]) == int(now) else 0
            self._requests.append((now, earlier + requests))  # one entry a second

    def tick(self, now: float, day: int, alive: Iterable[Ref]) -> None:
        """Called every second or so: forget who ended, and say what is to be said."""
        if self._day not in (None, day):
            self._today = _NOTHING
        self._day = day
        while self._requests and self._requests[0][0] < now - _MINUTE:
            self._requests.popleft()
        for name, used, budget in self._measured():
            self._compare(name, used, budget)
        if now >= self._tell_at:
            self._tell(now)
            self._seen = {ref: self._seen[ref] for ref in alive if ref in self._seen}

    def _tell(self, now: float) -> None:
        self._tell_at = now + EVERY
        if self._told != self._total:
            used = heartbeat.added([heartbeat.grown(self._told, self._total)])
            self._told = self._total
            self._note(log_events.USAGE_REPORT, "info", used=heartbeat.rounded(used), total=self.totals())

    def totals(self) -> Json:
        """Since the daemon began, by provider."""
        return heartbeat.rounded(self._total)

    def _measured(self) -> Iterable[tuple[str, float, float]]:
        openai, deepgram = (self._today.get(name, {}) for name in ("openai", "deepgram"))
        budgets = self._budgets
        yield (
            "openai_budget_requests_per_minute",
            sum(count for _, count in self._requests),
            budgets.openai_budget_requests_per_minute,
        )
        yield (
            "openai_budget_tokens_per_day",
            openai.get("tokens_in", 0) + openai.get("tokens_out", 0),
            budgets.openai_budget_tokens_per_day,
        )
        yield (
            "deepgram_budget_audio_hours_per_day",
            deepgram.get("audio_seconds", 0) / 3600,
            budgets.deepgram_budget_audio_hours_per_day,
        )

    def _compare(self, name: str, used: float, budget: float) -> None:
        if budget and used > budget:
            if name not in self._over:
                self._over.add(name)
                self._note(
                    log_events.LIMIT_WARNED, "warning", limit=f"usage.{name}", used=round(used, 2), budget=budget
                )
        else:
            self._over.discard(name)
