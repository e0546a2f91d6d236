"""The flight record: each worker's last minute, kept in memory within bounds and put together at its end.

Spoken text stays out unless the settings ask for transcripts; secrets are masked in the finished entry.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mindbot_config.output import strict_json
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Change, Death, Reason, Ref, Sample
from mindbot_supervisor.observability.status import of_beat, of_sample
from mindbot_worker.protocol.heartbeat import Beat

MINUTE = 60
"""Beats and samples kept of one worker, at most one a second: its last minute."""
LINES, CHANGES, CALL_CHANGES = 40, 64, 32
"""Log lines and changes kept of one worker; those of its calls are kept apart, so that no number of calls pushes its
own life out of the record."""
ROOMS, ROOM_MAX = 16, 100
"""Rooms that are named with a beat, and characters of each; how many there were is told beside them."""
BEAT_ENTRIES = 64
"""A beat with more calls, ends and pids than that is kept as it is shown: sixty whole ones would be megabytes."""
TEXT_MAX = 1000
"""Characters kept of one log line."""
STACK_MAX = 64 * 1024
SAVED_MAX = 4 * 1024 * 1024
"""Characters of records that are handed to the next version: of 100 to 200 workers. To write them takes 0.1 s."""
ENDED = 32
"""Finished records kept in memory, besides the journal on disk."""

SPEECH = frozenset({"user.speech", "agent.speech", "transcript.interim"})
SPOKEN = frozenset({"transcript", "user_transcript", "agent_transcript", "chat_ctx", "utterance", "said_text"})
"""Fields in which LiveKit and agents log what was said, whatever the event."""
EVIDENCE = frozenset({"value", "limit", "detail", "reason"})
CALL_EVENTS = "call."
WITH_STACK = frozenset({log_events.CALL_STALLED, log_events.CALL_HUNG, log_events.CALL_GONE})
"""Events that come with the stack of a job process."""
QUIET_ENDS = frozenset({(Death.ASKED.value, Reason.STOP.value)})
"""Ends that nobody will ask about: not written to the journal."""

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    """What is remembered of one worker. Times are of the monotonic clock until the record is put together."""

    beats: deque[tuple[float, Beat | Json]] = field(default_factory=lambda: deque(maxlen=MINUTE))
    samples: deque[tuple[float, Sample | Json]] = field(default_factory=lambda: deque(maxlen=MINUTE))
    """Those that came from an earlier version are as they are shown."""
    lines: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=LINES))
    changes: deque[tuple[float, Json]] = field(default_factory=lambda: deque(maxlen=CHANGES))
    calls: deque[tuple[float, Json]] = field(default_factory=lambda: deque(maxlen=CALL_CHANGES))
    pid: int | None = None
    stack: str | None = None
    verdict: Json = field(default_factory=dict)
    """The last thing found against it, with its evidence."""
    exited: Change | None = None


class Recorder:
    """Takes facts as they come. `write` gets each finished entry that belongs in the journal, one line of JSON."""

    def __init__(
        self,
        write: Callable[[str], None],
        clean: Callable[[Any], Any],
        clock: Callable[[], float],
        wall: Callable[[], float],
        *,
        transcripts: Callable[[], bool],
        stamp: Json,
    ) -> None:
        self._write, self._clean, self._clock, self._wall = write, clean, clock, wall
        self._transcripts, self._stamp = transcripts, stamp
        self._flights: dict[Ref, _Flight] = {}
        self._ended: OrderedDict[Ref, str] = OrderedDict()

    # -- facts ---------------------------------------------------------------------------------------------------------

    def beat(self, ref: Ref, beat: Beat, now: float) -> None:
        large = len(beat.calls) + len(beat.ended) + len(beat.pids) > BEAT_ENTRIES
        _keep(self._of(ref).beats, now, _shown(beat) if large else beat)

    def sample(self, ref: Ref, sample: Sample, now: float) -> None:
        _keep(self._of(ref).samples, now, sample)

    def output(self, ref: Ref, level: str, event: str, fields: Mapping[str, object]) -> None:
        shown = fields if self._transcripts() else unspoken(event, fields)
        text = strict_json.dumps(shown) if shown else ""
        self._of(ref).lines.append((self._clock(), f"{level} {event} {text[:TEXT_MAX]}".rstrip()))

    def change(self, change: Change) -> None:
        """A worker that exited is complete only after the changes that come with it: then call `finish`."""
        of_calls = change.event.startswith(CALL_EVENTS)
        if change.worker is None or (of_calls and change.worker not in self._flights):
            return  # what becomes of a call after the end of its worker is no part of the worker's record
        flight = self._of(change.worker)
        flight.pid = change.pid if change.pid is not None else flight.pid
        if change.event == log_events.WORKER_STACK:
            stack = change.fields.get("stack") or change.fields.get("detail")
            flight.stack = str(stack)[:STACK_MAX] if stack else flight.stack
            return
        kept, fields = flight.calls if of_calls else flight.changes, dict(change.fields)
        if change.event in WITH_STACK and (stack := fields.pop("stack", None)):
            flight.stack = f"call {fields.get('room')}, process {fields.get('process')}\n{stack}"[:STACK_MAX]
        kept.append((change.at, {"event": change.event, **fields}))
        if change.event in (log_events.LIMIT_WARNED, log_events.WORKER_KILLING, log_events.WORKER_DRAINING):
            flight.verdict = {key: value for key, value in change.fields.items() if key in EVIDENCE}
        if change.event == log_events.WORKER_EXITED:
            flight.exited = change

    def finish(self, ref: Ref) -> None:
        """Put the record of an ended worker together, keep it, and write it unless it ended as everybody wished."""
        flight = self._flights.pop(ref, None)
        if flight is None or flight.exited is None:
            return
        entry = self._entry(ref, flight, flight.exited.at)
        line = strict_json.dumps(self._clean(entry))
        self._ended[ref] = line
        while len(self._ended) > ENDED:
            self._ended.popitem(last=False)
        if (entry.get("verdict"), entry.get("reason")) not in QUIET_ENDS:
            self._write(line)

    def recall(self, entries: Iterable[Json]) -> None:
        """Remember finished records, oldest first, of the daemon that we have taken over from."""
        for entry in entries:
            slot, _, generation = str(entry["worker"]).partition(".")
            if slot.isdecimal() and generation.isdecimal():
                self._ended[Ref(int(slot), int(generation))] = strict_json.dumps(entry)

    def finish_ended(self) -> None:
        """Do not wait for what else may belong to the records of ended workers."""
        for ref in [ref for ref, flight in self._flights.items() if flight.exited is not None]:
            self.finish(ref)

    def saved(self) -> list[str]:
        """The records of the living workers so far, each in JSON, for the version of this program that comes next."""
        found: list[str] = []
        room = SAVED_MAX
        for ref, flight in self._flights.items():
            found.append(strict_json.dumps({"worker": [ref.slot, ref.generation], **_plain(flight)}))
            room -= len(found[-1])
            if room < 0:
                found.pop()
                break
        return found

    def restore(self, saved: Iterable[str]) -> None:
        """Go on with the records of the version before."""
        for text in saved:
            entry = json.loads(text)
            self._flights[Ref(*entry.pop("worker"))] = _flight(entry)

    # -- what is asked of it -------------------------------------------------------------------------------------------

    def live(self, ref: Ref, now: float) -> Json:
        """The record so far, masked like a finished one."""
        entry = self._entry(ref, self._of(ref), now)
        masked: Json = json.loads(strict_json.dumps(self._clean(entry)))
        return masked

    def ended(self, ref: Ref) -> Json | None:
        line = self._ended.get(ref)
        return None if line is None else json.loads(line)

    def last_ended(self, slot: int) -> Ref | None:
        return max((ref for ref in self._ended if ref.slot == slot), default=None)

    def ended_refs(self) -> list[Ref]:
        return sorted(self._ended)

    def _of(self, ref: Ref) -> _Flight:
        flight = self._flights.get(ref)
        if flight is None:
            flight = _Flight()
            if ref not in self._ended:  # late news of an ended one, such as of its calls: nobody keeps it
                self._flights[ref] = flight
        return flight

    def _entry(self, ref: Ref, flight: _Flight, end: float) -> Json:
        """Times are seconds before the end."""
        exited = flight.exited.fields if flight.exited is not None else {}
        evidence = {key: value for key, value in flight.verdict.items() if key not in exited}
        return {
            "worker": str(ref),
            "slot": ref.slot,
            "pid": flight.pid,
            "at": round(self._wall() - (self._clock() - end), 3),
            **{key: value for key, value in exited.items() if value is not None},
            "evidence": evidence,
            "stack": flight.stack,
            "changes": [
                {"at": round(at - end, 2), **fields}
                for at, fields in sorted([*flight.changes, *flight.calls], key=lambda each: each[0])
            ],
            "beats": [{"at": round(at - end, 2), **_shown(beat)} for at, beat in flight.beats],
            "samples": [{"at": round(at - end, 2), **_shown(sample)} for at, sample in flight.samples],
            "log": [f"{at - end:.2f} {text}" for at, text in flight.lines],
            **self._stamp,
        }


def _keep(row: deque[tuple[float, T]], now: float, value: T) -> None:
    """One for each second of the clock, the latest, so that MINUTE of them are a minute."""
    if row and int(row[-1][0]) == int(now):
        row.pop()
    row.append((now, value))


def _shown(seen: Beat | Sample | Json) -> Json:
    if isinstance(seen, Beat):
        shown: Json = {"state": seen.state, **of_beat(seen), "calls": _rooms(seen)}
        return shown | {"calls_in_all": len(seen.calls), "errors": seen.errors_total}
    return of_sample(seen) if isinstance(seen, Sample) else seen


def _rooms(beat: Beat) -> list[str]:
    return [call.room[:ROOM_MAX] for call in beat.calls[:ROOMS]]


def _plain(flight: _Flight) -> Json:
    return {
        "beats": [(at, _shown(beat)) for at, beat in flight.beats],
        "samples": [(at, _shown(sample)) for at, sample in flight.samples],
        "lines": list(flight.lines),
        "changes": list(flight.changes),
        "calls": list(flight.calls),
        "pid": flight.pid,
        "stack": flight.stack,
        "verdict": flight.verdict,
    }


def _flight(plain: Json) -> _Flight:
    flight = _Flight(pid=plain["pid"], stack=plain["stack"], verdict=plain["verdict"])
    for name in ("beats", "samples", "lines", "changes", "calls"):
        getattr(flight, name).extend((at, what) for at, what in plain.get(name, ()))
    return flight


def unspoken(event: str, fields: Mapping[str, object]) -> dict[str, object]:
    """The fields without what was said by anybody."""
    hidden = SPOKEN | {"text", "message"} if event in SPEECH else SPOKEN
    return {key: value for key, value in fields.items() if key not in hidden}
