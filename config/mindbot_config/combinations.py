"""Settings that are each right by themselves and cannot work together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mindbot_config.sections.limits import Pool
from mindbot_config.sections.voice import MIN_SILENCE_OF_MODEL

if TYPE_CHECKING:
    from mindbot_config.settings import Settings


@dataclass(frozen=True)
class Clash:
    """Two keys that cannot both have their value: what each must be to the other, and another way out."""

    key: str
    value: Any
    must: str
    other: str
    other_value: Any
    other_must: str
    hint: str = ""

    def swapped(self) -> Clash:
        return Clash(self.other, self.other_value, self.other_must, self.key, self.value, self.must, self.hint)


class ClashError(ValueError):
    """Some settings cannot work together."""

    def __init__(self, *clashes: Clash) -> None:
        self.clashes = clashes
        super().__init__("; ".join(f"{clash.key} {clash.must} {clash.other}{clash.hint}" for clash in clashes))


def clashes(settings: Settings) -> Iterator[Clash]:
    """Everything about these settings that cannot work."""
    limits, pool, voice = settings.limits, settings.pool, settings.voice

    def clash(key: str, must: str, other: str, other_must: str, hint: str = "") -> Clash:
        return Clash(key, attrgetter(key)(settings), must, other, attrgetter(other)(settings), other_must, hint)

    less, more = "must be less than", "must be more than"
    most, least = "must be at most", "must be at least"
    if limits.suspect_after >= limits.hung_after:
        yield clash("limits.suspect_after", less, "limits.hung_after", more)
    if limits.beat_interval * 2 > limits.suspect_after:
        yield clash("limits.beat_interval", f"{most} half of", "limits.suspect_after", f"{least} twice")
    soft, hard = limits.memory_soft_mb, limits.memory_hard_mb
    if soft != "auto" and hard != "auto" and soft >= hard:
        yield clash("limits.memory_soft_mb", less, "limits.memory_hard_mb", more)
    if settings.restart.backoff_base > settings.restart.backoff_max:
        yield clash("restart.backoff_base", most, "restart.backoff_max", least)
    if settings.restart.park_retry > settings.restart.park_window:
        yield clash("restart.park_retry", most, "restart.park_window", least)
    if pool.max_unavailable > pool.workers > 1:
        yield clash("pool.max_unavailable", most, "pool.workers", least)
    if pool.command and pool.agent != Pool.model_fields["agent"].default:
        beside = "cannot go together with"
        yield clash("pool.command", beside, "pool.agent", beside, ": set one of them")
    if voice.turn_detection == "model" and voice.min_silence_duration < MIN_SILENCE_OF_MODEL:
        must = f"must be {MIN_SILENCE_OF_MODEL} or more with"
        hint = ', or set voice.turn_detection = "vad"'
        yield clash("voice.min_silence_duration", must, "voice.turn_detection", 'must be "vad" with', hint)
