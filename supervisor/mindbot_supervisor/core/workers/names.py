"""Bounds the names that workers may fill tables with: kinds of errors and providers, beyond a few each, are OTHER.

A worker can invent a name in every heartbeat; without a bound each of them would be kept for ever in counts, status
and metrics. The names of a slot are its own, so that one worker's inventions cost no sibling a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mindbot_supervisor.core.workers.model import Ref
from mindbot_worker.protocol.heartbeat import KINDS_MAX, OTHER, PROVIDERS_MAX, Beat, added

KINDS = frozenset({"stt", "llm", "tts", "realtime", "vad", "session", "job", "crash", "init", "disconnects", OTHER})
"""Kinds of errors that our own workers tell: they are names for every slot, whatever else was named there."""
PROVIDERS = frozenset({"openai", "deepgram", "livekit", "silero", OTHER})
"""Providers that our own workers tell."""
PROVIDERS_OF_ALL = 64
"""Providers of all slots together: the daemon's totals are kept by provider alone."""


@dataclass(slots=True)
class Names:
    """What has been named in each slot so far; it grows to KINDS_MAX and PROVIDERS_MAX a slot."""

    _kinds: dict[int, set[str]] = field(default_factory=dict)
    _providers: dict[int, set[str]] = field(default_factory=dict)
    _all_providers: set[str] = field(default_factory=set)

    def fit(self, ref: Ref, beat: Beat) -> Beat:
        """The beat with no more names than its slot may have; nearly always it is the same one."""
        if beat.errors_by and not all(self._is_kind(ref.slot, kind) for kind in beat.errors_by):
            beat = replace(beat, errors_by=self._kinds_of(ref.slot, beat.errors_by))
        if beat.usage and not all(self._is_provider(ref.slot, provider) for provider in beat.usage):
            parts = ({name if self._is_provider(ref.slot, name) else OTHER: used} for name, used in beat.usage.items())
            beat = replace(beat, usage=added(parts))
        return beat

    def forget(self, slot: int) -> None:
        """The slot is gone."""
        self._kinds.pop(slot, None)
        self._providers.pop(slot, None)

    def _kinds_of(self, slot: int, counts: Mapping[str, int]) -> dict[str, int]:
        few: dict[str, int] = {}
        for kind, count in counts.items():
            name = kind if self._is_kind(slot, kind) else OTHER
            few[name] = few.get(name, 0) + count
        return few

    def _is_kind(self, slot: int, kind: str) -> bool:
        """Whether it is a name here; a new one becomes one as long as there is room."""
        known = self._kinds.setdefault(slot, set())
        if kind in KINDS or kind in known:
            return True
        if len(known) >= KINDS_MAX:
            return False
        known.add(kind)
        return True

    def _is_provider(self, slot: int, provider: str) -> bool:
        known = self._providers.setdefault(slot, set())
        if provider in PROVIDERS or provider in known:
            return True
        if len(known) >= PROVIDERS_MAX or len(self._all_providers | {provider}) > PROVIDERS_OF_ALL:
            return False
        known.add(provider)
        self._all_providers.add(provider)
        return True
