"""The pool as operators see it: the shape of `status --json` and `GET /status` (the public contract)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mindbot_supervisor.core.calls import stalled_calls
from mindbot_supervisor.core.calls.stalled_calls import Stalled
from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.health.memory_trend import Leak
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import LastExit, Ref, Sample, Worker
from mindbot_supervisor.core.workers.next_steps import deadline
from mindbot_supervisor.core.workers.shortage import Shortage
from mindbot_supervisor.core.workers.slots import Slot
from mindbot_worker.protocol import heartbeat
from mindbot_worker.protocol.heartbeat import Beat, Call

Json = dict[str, Any]


def of_beat(beat: Beat | None) -> Json:
    return {
        "registered": beat.registered if beat else None,
        "problem": beat.problem or None if beat else None,
        "idle": beat.idle if beat else None,
        "lag_ms": beat.lag_ms if beat else None,
        "load": beat.load if beat else None,
    }


def of_sample(sample: Sample | None) -> Json:
    return {
        "pss_mb": round(sample.pss_mb, 1) if sample else None,
        "rss_mb": round(sample.rss_mb, 1) if sample else None,
        "cpu_percent": round(sample.cpu_percent, 1) if sample else None,
        "processes": sample.processes if sample else None,
    }


def of_launcher(described: Mapping[str, object], samples: Mapping[int, Sample]) -> Json:
    """The launcher as it describes itself, and what each process takes that it names."""
    return {
        name: {**each, **_of_helper(samples.get(each["pid"]))} if isinstance(each, dict) else each
        for name, each in described.items()
    }


def _of_helper(sample: Sample | None) -> Json:
    figures = of_sample(sample)
    return {"memory_mb": figures["pss_mb"], "cpu_percent": figures["cpu_percent"]}


@dataclass(frozen=True, slots=True)
class View:
    """What does not change while the daemon runs, for `status`. `started` is on the pool's monotonic clock."""

    version: str
    pid: int
    mode: str
    started: float

    def status(self, pool: Pool, now: float, wall: float) -> Json:
        """The whole status. `now` is the pool's clock, `wall` the same moment in Unix time."""
        clock = _Clock(now, wall)
        workers = [_worker(worker, pool, clock) for worker in sorted(pool.workers.values(), key=lambda each: each.ref)]
        empty = ((slot, _phase_of_empty(slot, pool)) for slot in pool.slots.values())
        waiting = [_waiting(slot, phase, clock) for slot, phase in empty if phase is not None]
        return {
            "supervisor": {
                "version": self.version,
                "pid": self.pid,
                "uptime": round(now - self.started, 3),
                "workers_wanted": sum(not slot.surplus for slot in pool.slots.values()),
                "held": pool.brake.hold.reason.value if pool.brake.hold else None,
                "shortage": _shortage(pool.shortage, clock),
                "rollout": {**pool.rollout.fields(), "active": pool.rollout.active} if pool.rollout else None,
                "mode": self.mode,
            },
            "workers": sorted(workers + waiting, key=lambda row: int(row["slot"])),
            "calls": {
                "active": pool.active_calls,
                "ended": pool.counts.ended,
                "lost": pool.counts.lost,
                "recovered": pool.counts.recovered,
                "migrated": pool.counts.migrated,
                "cut_by_us": pool.counts.cut_by_us,
            },
        }


@dataclass(frozen=True, slots=True)
class _Clock:
    now: float
    wall: float

    def iso(self, at: float) -> str:
        """A moment of the monotonic clock as UTC."""
        moment = datetime.fromtimestamp(self.wall + at - self.now, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _worker(worker: Worker, pool: Pool, clock: _Clock) -> Json:
    history, slot = pool.histories[worker.ref], pool.slots[worker.ref.slot]
    beat = history.beat
    errors, by = history.errors_within(pool.policy.limits.error_window, clock.now)
    return {
        "worker": str(worker.ref),
        "slot": worker.ref.slot,
        "pid": worker.pid,
        "phase": worker.phase.value,
        "suspect": worker.suspect,
        "silence": round(clock.now - history.loop_at, 1) if history.loop_at is not None else None,
        "leaving": worker.leaving.reason.value if worker.leaving else None,
        **_leaving(worker, pool, clock),
        **of_beat(beat),
        "calls": _calls(worker.ref, pool, clock),
        "errors_in_window": errors,
        "errors_by": dict(by),
        **of_sample(history.sample),
        "uptime": round(clock.now - worker.spawned_at, 3),
        "usage": heartbeat.rounded(beat.usage) if beat else {},
        "leak": _leak(history.trend.leak(pool.policy.memory_soft_mb)),
        **_slot(slot, clock),
    }


def _leaving(worker: Worker | None, pool: Pool | None, clock: _Clock) -> Json:
    """Since when it is leaving, and when it is killed at the latest."""
    left = due = None
    if worker is not None and pool is not None:
        left, due = worker.left_at, deadline(worker, pool.histories[worker.ref], pool.policy)
    return {
        "leaving_since": clock.iso(left) if left is not None else None,
        "deadline": clock.iso(due) if due is not None else None,
        "deadline_in": round(max(due - clock.now, 0.0), 1) if due is not None else None,
    }


def _phase_of_empty(slot: Slot, pool: Pool) -> str | None:
    """What an empty seat waits for; None for one that has a row of its own, or is to have none."""
    here = pool.in_slot(slot.index)
    if any(worker.seated for worker in here) or slot.surplus:
        return None
    if slot.emptied:
        return None if here else "drained"  # until then the row is that of the worker that drains
    if slot.retry_at:
        return "parked" if slot.parked else "backoff"
    if pool.stopping:
        return None
    return "parked" if slot.index in pool.boot.unstartable else "starting"


def _waiting(slot: Slot, phase: str, clock: _Clock) -> Json:
    """A seat without a worker."""
    return {
        "worker": str(slot.next_ref()),
        "slot": slot.index,
        "phase": phase,
        "suspect": False,
        "silence": None,
        "pid": None,
        "leaving": None,
        **_leaving(None, None, clock),
        **of_beat(None),
        **of_sample(None),
        "calls": [],
        "errors_in_window": 0,
        "errors_by": {},
        "processes": 0,
        "uptime": 0.0,
        "usage": {},
        "leak": None,
        **_slot(slot, clock),
    }


def _slot(slot: Slot, clock: _Clock) -> Json:
    return {
        "restarts": slot.restarts,
        "drained_since": clock.iso(slot.emptied_at) if slot.emptied_at is not None else None,
        "drained_by": slot.emptied_by or None,
        "parked_until": clock.iso(slot.retry_at) if slot.parked and slot.retry_at else None,
        "retry_in": round(max(slot.retry_at - clock.now, 0.0), 3) if slot.retry_at else None,
        "last_exit": _last_exit(slot.last_exit, clock) if slot.last_exit else None,
    }


def _leak(leak: Leak | None) -> Json | None:
    """Steady growth of private memory; `limit_in` is seconds until the soft limit, None if far beyond any horizon."""
    if leak is None:
        return None
    limit_in = round(leak.limit_in) if leak.limit_in is not None else None
    return {"mb_per_hour": round(leak.mb_per_hour, 1), "limit_in": limit_in}


def _calls(ref: Ref, pool: Pool, clock: _Clock) -> list[Json]:
    history = pool.histories[ref]
    if not history.calls():
        return []
    stalls = {each.call.job: each for each in stalled_calls.stalled(history, pool.policy)}
    return [
        {
            **_call(call, history, clock),
            **_beat_of(call, history, stalls.get(call.job)),
            "contested": pool.claims.is_contested(ref, call.job),
        }
        for call in history.calls()
    ]


def _beat_of(call: Call, history: History, stall: Stalled | None) -> Json:
    """How long the process of a call was silent when its worker was last heard; None: it tells nothing of that."""
    job = history.jobs.get(call.job)
    age = round(job.age, 2) if job is not None else None
    return {"beat_age": age, "stalled": None if stall is None else stall_told(stall)}


def stall_told(stall: Stalled) -> Json:
    found = stall.found
    where = {"where": found.where or None, "detail": found.detail or None}
    told = {"seconds": round(stall.seconds, 1), "limit": stall.limit, "stopped": found.stopped}
    return {**told, "spared": stall.kill_at is None, **where}


def _shortage(shortage: Shortage, clock: _Clock) -> Json | None:
    """What the host has nothing left of, so that workers wait for their start."""
    if shortage.since is None:
        return None
    return {"detail": shortage.detail, "since": clock.iso(shortage.since), "waiting": len(shortage.waiting)}


def _call(call: Call, history: History, clock: _Clock) -> Json:
    since_beat = clock.now - history.loop_at if history.loop_at is not None else 0.0
    gone = history.rooms.since.get(call.job)
    return {
        "room": call.room,
        "job": call.job,
        "identity": call.identity,
        "pid": call.pid,
        "started": call.started,
        "idle": round(call.idle + since_beat, 2),
        "state": call.state,
        "present": call.present,
        "gone": round(clock.now - gone, 1) if gone is not None else None,
    }


def _last_exit(last: LastExit, clock: _Clock) -> Json:
    return {
        "verdict": last.verdict.value,
        "code": last.code,
        "signal": last.signal,
        "reason": last.reason.value if last.reason else None,
        "calls": last.calls,
        "at": clock.iso(last.at),
    }
