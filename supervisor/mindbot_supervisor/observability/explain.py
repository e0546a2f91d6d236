"""Why a worker is as it is: `GET /explain?worker=…`, put together from the pool, its rules and the flight record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from mindbot_supervisor.core.calls import stalled_calls
from mindbot_supervisor.core.health.rule_margins import Margin, margins
from mindbot_supervisor.core.health.rules import heartbeat, judge
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers import next_steps
from mindbot_supervisor.core.workers.model import Ref, Verdict, Worker
from mindbot_supervisor.core.workers.next_steps import Coming
from mindbot_supervisor.core.workers.slots import Slot
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.observability.flight_recorder import Recorder
from mindbot_supervisor.observability.status import stall_told

Json = dict[str, Any]
RECENT = 12
"""Changes shown of a living worker."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Answers from memory, for one moment of the pool's clock."""

    pool: Pool
    flights: Recorder
    now: float
    status: Json
    """As `GET /status` gives it."""

    def explain(self, name: str) -> Json:
        """`name` is "slot.generation", or a slot: its worker now, else its last. Raises Refused naming those known."""
        ref = self._find(name)
        if ref is not None and ref in self.pool.workers:
            return self._live(ref)
        if ref is not None:
            return self._ended(ref)
        slot = self.pool.slots.get(int(name)) if name.isascii() and name.isdecimal() else None
        if slot is None:
            raise unknown(name, [*self.pool.workers, *self.flights.ended_refs()])
        return {"worker": None, "slot": slot.index, "alive": False, **self._slot(slot.index), "source": "memory"}

    def _find(self, name: str) -> Ref | None:
        for ref in [*self.pool.workers, *self.flights.ended_refs()]:
            if str(ref) == name:
                return ref
        if not (name.isascii() and name.isdecimal()):
            return None
        index = int(name)
        here = [worker for worker in self.pool.workers.values() if worker.ref.slot == index]
        best = max(here, key=lambda worker: (worker.seated, worker.ref), default=None)
        return best.ref if best is not None else self.flights.last_ended(index)

    def _live(self, ref: Ref) -> Json:
        pool, worker = self.pool, self.pool.workers[ref]
        seen = pool.observe(self.now)[ref]
        found = (judge(seen, pool.policy) or heartbeat.suspect(seen, pool.policy)) if worker.pid is not None else None
        stalls = stalled_calls.stalled(pool.histories[ref], pool.policy)
        row: Json = next((row for row in self.status["workers"] if row["worker"] == str(ref)), {})
        coming = next_steps.of_worker(worker, pool.histories[ref], pool.slots.get(ref.slot), pool.policy)
        if ref in pool.shortage.waiting:
            coming = next_steps.of_waiting(pool.shortage)
        record, beside = self.flights.live(ref, self.now), self._beside(ref.slot, ref)
        return {
            "worker": str(ref),
            "slot": ref.slot,
            "alive": True,
            "phase": worker.phase.value,
            "leaving": _verdict(worker.leaving),
            "found": _verdict(found),
            "stalled": [{"room": each.call.room, "pid": each.call.pid, **stall_told(each)} for each in stalls],
            "rules": [_margin(each) for each in margins(seen, pool.policy)],
            "next": [*(self._coming(each) for each in coming), *self._next_of(beside)],
            "held": asdict(pool.brake.hold) if pool.brake.hold is not None else None,
            "leak": row.get("leak"),
            "status": row,
            "beside": beside,
            "deadline": row.get("deadline"),
            "deadline_in": row.get("deadline_in"),
            "changes": record["changes"][-RECENT:],
            "stack": record["stack"],
            "last_exit": self._last(ref.slot),
            "source": "memory",
        }

    def _ended(self, ref: Ref) -> Json:
        return {**(self.flights.ended(ref) or {}), "alive": False, **self._slot(ref.slot), "source": "memory"}

    def _slot(self, index: int) -> Json:
        """What becomes of the seat, for a worker that has left it."""
        slot = self.pool.slots.get(index)
        seated = next((ref for ref, worker in self.pool.workers.items() if ref.slot == index and worker.seated), None)
        if seated is not None:
            return {"successor": str(seated), "next": [], "beside": self._beside(index, seated)}
        coming = [self._coming(each) for each in next_steps.of_slot(slot)] if slot else []
        return {"successor": None, "next": [*self._of_drain(slot), *coming], "beside": self._beside(index, None)}

    def _of_drain(self, slot: Slot | None) -> Iterator[Json]:
        """Since when a slot is empty because somebody wanted it so, and who that was."""
        if slot is not None and slot.emptied_at is not None:
            by = f" by {slot.emptied_by}" if slot.emptied_by else ""
            yield {"what": f"it was drained{by} {self.now - slot.emptied_at:.0f} s ago", "in": None}

    def _beside(self, index: int, but: Ref | None) -> list[Json]:
        """The other workers of the slot, which are on their way out: since when, why, with whose calls, until when."""
        return [self._leaving(worker) for worker in self.pool.in_slot(index) if worker.ref != but]

    def _leaving(self, worker: Worker) -> Json:
        row: Json = next((row for row in self.status["workers"] if row["worker"] == str(worker.ref)), {})
        kept = ("phase", "leaving", "leaving_since", "deadline", "deadline_in")
        rooms = [call.room for call in self.pool.histories[worker.ref].calls()]
        return {"worker": str(worker.ref), **{key: row.get(key) for key in kept}, "calls": rooms}

    def _next_of(self, others: Iterable[Json]) -> Iterator[Json]:
        """When those end at the latest, for whoever asks for the slot and is told of its newest worker."""
        for other in others:
            reason, calls = other["leaving"] or "asked to", len(other["calls"])
            what = (
                f"worker {other['worker']} of the same slot, {other['phase']} ({reason}) with {calls} calls, is killed"
            )
            yield {"what": f"{what} if it still lives then", "in": other["deadline_in"]}

    def _last(self, slot: int) -> Json | None:
        """In short: what became of the slot's previous worker."""
        ref = self.flights.last_ended(slot)
        entry = self.flights.ended(ref) if ref is not None else None
        kept = ("worker", "verdict", "code", "signal", "reason", "detail", "evidence", "uptime", "calls", "at")
        return {key: entry[key] for key in kept if key in entry} if entry is not None else None

    def _coming(self, coming: Coming) -> Json:
        return {"what": coming.what, "in": None if coming.at is None else round(max(coming.at - self.now, 0.0), 1)}


def _verdict(verdict: Verdict | None) -> Json | None:
    if verdict is None:
        return None
    return {"reason": verdict.reason.value, "urgency": verdict.urgency.name.lower(), **verdict.fields()}


def _margin(margin: Margin) -> Json:
    return {
        "reason": margin.reason.value,
        "urgency": margin.urgency.name.lower(),
        "value": round(margin.value, 2),
        "limit": round(margin.limit, 2),
        "unit": margin.unit,
        "share": round(margin.share, 3),
    }


def unknown(name: str, known: Iterable[object]) -> Refused:
    names = sorted({str(each) for each in known}, key=lambda each: [int(part) for part in each.split(".")])
    there = ", ".join(names[-40:]) or "none yet"
    return Refused(f"there is no worker {name or '(none named)'}; there are {there}")
