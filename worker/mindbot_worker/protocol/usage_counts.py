"""Counts that travel in heartbeats: what was used of each provider, errors by kind, and the summary of a call.

Each is kept small: beyond a number of names the rest is added up as OTHER.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Usage = Mapping[str, Mapping[str, float]]
"""What was used of each provider so far; the counts are those of USAGE, and only grow."""
USAGE = frozenset(
    {
        "requests",
        "errors",
        "rate_limited",  # refused by the provider: 429
        "held",  # not even sent: the provider had asked to wait for longer than a caller can
        "waits",  # began later, because all seats were taken
        "long_waits",  # later by more than a second
        "waited",  # seconds of all waits
        "tokens_in",
        "tokens_out",
        "characters",
        "audio_seconds",
    }
)

Summary = Mapping[str, float | str]
"""What a call was like, told once at its end: numbers and words under short names, such as `response_p95` and `audio`.
Times are seconds unless a name says otherwise."""
SUMMARY_MAX = 40
"""So many entries at most, the rest is left out; a name or a word has 32 characters at most."""
_WORD_MAX = 32

KINDS_MAX, PROVIDERS_MAX = 32, 16
"""So many kinds of errors, and providers, one beat may name; what is beyond counts as OTHER."""
NAME_MAX = 64
"""Characters of such a name; the rest is cut off."""
OTHER = "other"


def added(parts: Iterable[Usage]) -> dict[str, dict[str, float]]:
    """The sum of several usages, without zeros."""
    total: dict[str, dict[str, float]] = {}
    for part in parts:
        for provider, counts in part.items():
            into = total.setdefault(provider, {})
            for name, amount in counts.items():
                if amount:
                    into[name] = into.get(name, 0) + amount
    return {provider: counts for provider, counts in total.items() if counts}


def grown(before: Usage, after: Usage) -> dict[str, dict[str, float]]:
    """What was used between two usages, `before` and `after`."""
    return {
        provider: {name: max(amount - before.get(provider, {}).get(name, 0), 0) for name, amount in counts.items()}
        for provider, counts in after.items()
    }


def rounded(usage: Usage) -> dict[str, dict[str, float]]:
    """Rounded to two places, with at most PROVIDERS_MAX providers and OTHER: short on the wire and to read."""
    return {
        provider: {name: round(amount, 2) if amount % 1 else int(amount) for name, amount in counts.items()}
        for provider, counts in few_providers(usage).items()
    }


def few_kinds(counts: Mapping[str, int]) -> Mapping[str, int]:
    """At most KINDS_MAX kinds of errors, those that came first, with all others summed up as OTHER."""
    if len(counts) <= KINDS_MAX and all(len(kind) <= NAME_MAX for kind in counts):
        return counts
    few: dict[str, int] = {}
    for kind, count in counts.items():
        name = kind[:NAME_MAX]
        name = name if name in few or len(few) < KINDS_MAX else OTHER
        few[name] = few.get(name, 0) + count
    return few


def few_providers(usage: Usage) -> Usage:
    """At most PROVIDERS_MAX providers, those that came first, with the use of all others summed up as OTHER."""
    if len(usage) <= PROVIDERS_MAX and all(len(provider) <= NAME_MAX for provider in usage):
        return usage
    few: dict[str, dict[str, float]] = {}
    for provider, counts in usage.items():
        name = provider[:NAME_MAX]
        into = few.setdefault(name if name in few or len(few) < PROVIDERS_MAX else OTHER, {})
        for each, amount in counts.items():
            into[each] = into.get(each, 0) + amount
    return few


def is_summary(value: object) -> bool:
    """Whether a value can be the summary of a call: small enough, and only numbers and short words."""
    return (
        isinstance(value, dict)
        and len(value) <= SUMMARY_MAX
        and all(isinstance(name, str) and len(name) <= _WORD_MAX and _is_entry(each) for name, each in value.items())
    )


def _is_entry(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _WORD_MAX
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12  # no NaN either
