"""What a heartbeat says: the state of the worker, put together from those who know a part of it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mindbot_worker import wire
from mindbot_worker.calls import Calls

_LIST_MAX = 1024
"""The protocol refuses a longer list."""


@dataclass(slots=True)
class Vitals:
    """Written on the loop by whoever learns something; read for every beat, by the thread as well."""

    calls: Calls
    state: str = wire.STARTING
    registered: bool | None = None
    """None: not meant to be registered."""
    worker_id: str = ""
    load: float = 0.0
    problem: str = ""
    pids: set[int] = field(default_factory=set)
    last_beat: Callable[[int], float | None] = lambda _: None
    """When the event loop of a job process last went round, by its pid."""

    def beat(self, seq: int, *, lag: float, failure: wire.Failure | None = None) -> wire.Beat:
        now = time.monotonic()
        return wire.Beat(
            seq=seq,
            state=self.state,
            registered=self.registered,
            worker_id=self.worker_id,
            lag_ms=_finite(lag * 1000),
            load=_finite(self.load),
            calls=self.calls.live(now, self.last_beat)[:_LIST_MAX],
            ended=self.calls.ended(now)[-_LIST_MAX:],
            errors_total=self.calls.errors_total,
            errors_fatal=self.calls.errors_fatal,
            errors_by=dict(self.calls.errors),
            errors_of_providers=self.calls.errors_of_providers,
            jobs_started=self.calls.jobs_started,
            jobs_failed=self.calls.jobs_failed,
            jobs_storm=self.calls.storm(now),
            pids=tuple(sorted(self.pids - {os.getpid()}))[:_LIST_MAX],
            idle=round(self.calls.idle(now), 2),
            usage=self.calls.usage,
            problem=self.problem,
            failure=failure,
        )

    def thread_beat(self, seq: int) -> wire.Beat:
        return wire.Beat(seq=seq, state=self.state, source=wire.FROM_THREAD)


def _finite(value: float) -> float:
    """A user's load function may return anything; JSON cannot say NaN."""
    return value if math.isfinite(value) and abs(value) < 1e9 else 0.0
