"""A rolling change: workers replaced a few at a time, each behind a ready replacement; it stops at a failure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mindbot_supervisor.core.workers.model import Reason, Ref


@dataclass(slots=True)
class Rollout:
    """Which workers are still to be replaced. `under_way` wait for their replacements; `stopped` says why it ended."""

    reason: Reason
    pending: list[Ref]
    total: int
    done: int = 0
    under_way: set[Ref] = field(default_factory=set)
    stopped: str = ""

    @classmethod
    def of(cls, reason: Reason, refs: Iterable[Ref]) -> Rollout:
        pending = sorted(refs)
        return cls(reason, pending, len(pending))

    def settle(self, waiting: set[Ref]) -> int:
        """Count those that no longer wait: their replacements are ready, or they are gone. How many they are."""
        settled = self.under_way - waiting
        self.under_way -= settled
        self.done += len(settled)
        return len(settled)

    def skip(self, seated: set[Ref]) -> None:
        """Whoever is gone or leaves for another reason is replaced anyway."""
        left = [ref for ref in self.pending if ref in seated]
        self.done += len(self.pending) - len(left)
        self.pending = left

    def begin(self) -> Ref:
        """The next one, now under way."""
        ref = self.pending.pop(0)
        self.under_way.add(ref)
        return ref

    def stop(self, why: str) -> set[Ref]:
        """End it; whom to keep, since their replacements did not become ready."""
        kept, self.under_way = self.under_way, set()
        self.pending, self.stopped = [], why
        return kept

    @property
    def active(self) -> bool:
        return bool(self.pending or self.under_way)

    def fields(self) -> dict[str, object]:
        found: dict[str, object] = {"reason": self.reason.value, "done": self.done, "total": self.total}
        return {**found, "detail": self.stopped} if self.stopped else found
