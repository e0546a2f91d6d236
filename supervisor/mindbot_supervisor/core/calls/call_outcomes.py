"""Calls that begin and end, read off the difference between two heartbeats; and how many met which end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_worker.protocol.heartbeat import COMPLETED, KILLED, Beat, Call

OUTCOME_UNKNOWN = "unknown"
"""The call is gone from the beats and its worker did not say how it ended."""
ROOM_GONE = "room_gone"
"""Nobody was in the call any more: however its job ended, nobody has lost an agent."""


@dataclass(slots=True)
class CallCounts:
    """Calls by what became of them since the daemon started."""

    ended: int = 0
    lost: int = 0
    recovered: int = 0
    migrated: int = 0
    cut_by_us: int = 0


def killed(before: tuple[Call, ...], beat: Beat, gone: Collection[str] = ()) -> list[Call]:
    """Calls of the last beat whose job processes have died since, while their worker lives; but for those whose rooms
    are `gone`, by job.
    """
    present = {call.job for call in beat.calls}
    dead = {ended.job for ended in beat.ended if ended.outcome == KILLED}
    return [call for call in before if call.job in dead and call.job not in present and call.job not in gone]


def started_and_ended(
    before: tuple[Call, ...],
    beat: Beat,
    ref: Ref,
    pid: int | None,
    now: float,
    counts: CallCounts,
    elsewhere: Callable[[str], bool] = lambda _: False,
    gone: Collection[str] = (),
) -> Iterator[Change]:
    """The changes between the calls of the last beat and those of `beat`; ended and lost ones are counted.

    `elsewhere` tells by its job whether a call goes on with another agent: then its end here is none. The rooms of
    those in `gone` were gone before their jobs ended.
    """
    known = {call.job: call for call in before}
    present = {call.job: call for call in beat.calls}  # a job that is named twice is one call
    ends = {ended.job: ended for ended in beat.ended}
    for call in present.values():
        if call.job not in known and not elsewhere(call.job):
            yield Change(log_events.CALL_STARTED, now, ref, pid, fields=name(call))
    for job, call in known.items():
        if job in present or elsewhere(job):
            continue
        told = ends.get(job)
        outcome = told.outcome if told is not None else OUTCOME_UNKNOWN
        if outcome == KILLED and job in gone:
            outcome = ROOM_GONE
        fields = name(call) | {"outcome": outcome}
        if told is not None and told.summary:
            fields["summary"] = dict(told.summary)
        if outcome in (COMPLETED, OUTCOME_UNKNOWN, ROOM_GONE):
            counts.ended += 1
            yield Change(log_events.CALL_ENDED, now, ref, pid, fields=fields)
        else:
            counts.lost += 1
            yield Change(log_events.CALL_LOST, now, ref, pid, "error", fields)


def lost(calls: Iterable[Call], ref: Ref, pid: int | None, now: float, reason: str) -> Iterator[Change]:
    """The changes for calls whose worker is gone."""
    for call in calls:
        yield Change(log_events.CALL_LOST, now, ref, pid, "error", {**name(call), "reason": reason})


def name(call: Call) -> dict[str, object]:
    return {"room": call.room, "job": call.job}
