"""A host on which nothing ran for a while: frozen, suspended, or swapping. Nobody is to blame for that silence.

It shows in two ways: the supervisor's own tick comes late, or most processes fall silent within one heartbeat. Then
every silence begins anew, once: who stays silent after that is as late as anybody.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import events
from .model import Change, Phase
from .state import State

LATE_TICK = 2.0
"""A tick later than this many seconds beyond its interval: the supervisor itself was not running."""
SPREAD = 1.5
"""Heartbeats within which processes that stop in the same moment were last heard."""


def follow(state: State, gap: float, now: float) -> None:
    """To be called first at a tick that comes `gap` seconds late."""
    if gap >= state.policy.limits.suspect_after:
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


def silent_together(state: State, now: float) -> tuple[int, int, float] | None:
    """How many fell silent within one beat, of how many, and for how long they are; None unless they are most."""
    limits = state.policy.limits
    least = max(limits.suspect_after - limits.beat_interval, SPREAD * limits.beat_interval)
    voices = list(_voices(state, now, least))
    longest = max((silence for silence, fresh in voices if fresh), default=0.0)
    if longest < limits.suspect_after:
        return None
    fresh = sorted(silence for silence, heard_since in voices if heard_since and silence >= least)
    spread = SPREAD * limits.beat_interval
    most = max((sum(first <= each <= first + spread for each in fresh) for first in fresh), default=0)
    return (most, len(voices), longest) if most >= 2 and 2 * most > len(voices) else None


def _voices(state: State, now: float, least: float) -> Iterator[tuple[float, bool]]:
    """How long each process is silent, and whether it was heard since silences last began anew. Of the jobs of a silent
    worker nobody knows.
    """
    for ref, history in state.histories.items():
        if history.loop_at is None or state.workers[ref].phase is Phase.KILLING:
            continue
        silence = now - history.loop_at
        yield silence, history.heard_since
        if silence < least:
            yield from ((job.age, job.heard_since) for job in history.jobs.values())


def _begin_anew(state: State, gap: float, now: float, why: str, seconds: float | None = None) -> None:
    for history in state.histories.values():
        history.begin_anew(gap, now)
    lasted = round(gap if seconds is None else seconds, 3)
    fields = {"seconds": lasted, "workers": len(state.workers), "calls": state.active_calls, "detail": why}
    state.changes.append(Change(events.HOST_STALLED, now, None, None, "warning", fields))
