"""Counts what a call uses of its providers, in its job process. Pure.

The counts are those of `protocol.usage_counts.USAGE`. They only grow, so that a late reader has missed nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from mindbot_worker.protocol import heartbeat

_SUMMED = {
    "input_tokens": "tokens_in",
    "output_tokens": "tokens_out",
    "characters_count": "characters",
    "audio_duration": "audio_seconds",
}
"""Fields of LiveKit's usage of a model, and what they are here."""


class UsageMeter:
    """The counts of one call, by provider. `changed` is called after each change."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._counted: dict[str, Counter[str]] = {}
        self._of_sessions: dict[int, dict[str, Counter[str]]] = {}
        self._known_as: dict[str, str] = {}

    def name_host(self, host: str, provider: str) -> None:
        """Note the provider behind a host and port, by which LiveKit names the providers of some plugins."""
        self._known_as[host] = provider

    def count(self, provider: str, **amounts: float) -> None:
        counts = self._counted.setdefault(provider, Counter())
        for name, amount in amounts.items():
            counts[name] += amount  # type: ignore[assignment]
        self._changed()

    def waited(self, provider: str, seconds: float, *, long: bool = False) -> None:
        self.count(provider, waits=1, waited=seconds, **({"long_waits": 1} if long else {}))

    def session(self, session: int, models: Iterable[Any]) -> None:
        """Replace the counts of one session by what it has used so far, from LiveKit's `AgentSessionUsage`."""
        counts: dict[str, Counter[str]] = {}
        for model in models:
            used = counts.setdefault(self._provider(model.provider), Counter())
            for field, name in _SUMMED.items():
                # what a voice model speaks is paid by its characters or tokens: only heard sound is counted in seconds
                if field != "audio_duration" or model.type == "stt_usage":
                    used[name] += getattr(model, field, 0) or 0
        self._of_sessions[session] = counts
        self._changed()

    def _provider(self, name: str) -> str:
        plain = name.lower()
        return self._known_as.get(plain) or plain.removeprefix("api.").removesuffix(".com") or "other"

    def totals(self) -> dict[str, dict[str, float]]:
        """What was used of each provider, without zeros."""
        return heartbeat.added([self._counted, *self._of_sessions.values()])
