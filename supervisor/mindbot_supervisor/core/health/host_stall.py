"""A host on which nothing ran for a while: frozen, suspended, or swapping. Nobody is to blame for that silence.

It shows in two ways: the supervisor's own tick comes late, or most processes fall silent within one heartbeat. Then
every silence begins anew, once: who stays silent after that is as late as anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers.model import Change, Phase, Ref

LATE_TICK = 2.0
"""A tick later than this many seconds beyond its interval: the supervisor itself was not running."""
SPREAD = 1.5
"""Heartbeats within which processes that stop in the same moment were last heard."""


def follow(state: State, gap: float, now: float) -> None:
    """To be called first at a tick that comes `gap` seconds late."""
    if state.upgraded:
        state.upgraded = False
        forgive(state, max(gap, 0.0), now)
    elif gap >= state.policy.limits.suspect_after:
        _begin_anew(state, gap, now, f"the supervisor itself did not run for {gap:.1f} s")
    elif gap > LATE_TICK:
        forgive(state, gap, now)
    elif (silent := silent_together(state, now)) is not None:
        count, of, seconds = silent
        _begin_anew(state, 0.0, now, f"{count} of {of} processes fell silent at the same time", seconds)


def forgive(state: State, gap: float, now: float) -> None:
    """The supervisor itself did not run for so long: nobody was silent in that time."""
    for history in state.histories.values():
        history.forgive(gap, now)


class Voice(NamedTuple):
    """A process that is heard regularly: a worker's own, or that of one of its calls."""

    ref: Ref
    silence: float
    heard_since: bool
    """Whether it was heard since silences last began anew."""
    job: bool = False


def silent_together(state: State, now: float) -> tuple[int, int, float] | None:
    """How many fell silent within one beat, of how many, and for how long they are; None unless they are most.

    They must be of most workers too: what one worker says of its many jobs is no news of the host.
    """
    limits = state.policy.limits
    if not any(_is_late(history, limits.suspect_after, now) for history in state.histories.values()):
        return None  # as at nearly every tick
    least = max(limits.suspect_after - limits.beat_interval, SPREAD * limits.beat_interval)
    voices = list(_voices(state, now, least))
    workers = sum(not voice.job for voice in voices)
    for job, of in ((False, workers), (True, len(voices))):
        fresh = [v for v in voices if v.job is job and v.heard_since and v.silence >= least]
        most = _largest_group(fresh, SPREAD * limits.beat_interval)
        longest = max((voice.silence for voice in most), default=0.0)
        many = len(most) >= 2 and 2 * len(most) > of and 2 * len({voice.ref for voice in most}) > workers
        if many and longest >= limits.suspect_after:
            return len(most), of, longest
    return None


def _is_late(history: History, limit: float, now: float) -> bool:
    silent = history.loop_at is not None and now - history.loop_at >= limit
    return silent or (bool(history.jobs) and any(job.age >= limit for job in history.jobs.values()))


def _largest_group(voices: list[Voice], spread: float) -> list[Voice]:
    """Of those that fell silent within so many seconds of each other."""
    ordered = sorted(voices, key=lambda voice: voice.silence)
    best: list[Voice] = []
    first = 0
    for last, voice in enumerate(ordered):
        while voice.silence - ordered[first].silence > spread:
            first += 1
        if last - first >= len(best):
            best = ordered[first : last + 1]
    return best


def _voices(state: State, now: float, least: float) -> Iterator[Voice]:
    """Of the jobs of a silent worker nobody knows."""
    for ref, history in state.histories.items():
        if history.loop_at is None or state.workers[ref].phase is Phase.KILLING:
            continue
        silence = now - history.loop_at
        yield Voice(ref, silence, history.heard_since)
        if silence < least:
            yield from (Voice(ref, job.age, job.heard_since, job=True) for job in history.jobs.values())


def _begin_anew(state: State, gap: float, now: float, why: str, seconds: float | None = None) -> None:
    for history in state.histories.values():
        history.begin_anew(gap, now)
    lasted = round(gap if seconds is None else seconds, 3)
    fields = {"seconds": lasted, "workers": len(state.workers), "calls": state.active_calls, "detail": why}
    state.changes.append(Change(log_events.HOST_STALLED, now, None, None, "warning", fields))
