"""Job processes that the kernel's OOM killer ended while their worker lives: told with the beat that says they died."""

from __future__ import annotations

from collections.abc import Iterator

from mindbot_supervisor.core import events
from mindbot_supervisor.core.calls import killed, name
from mindbot_supervisor.core.model import Change, Ref
from mindbot_supervisor.core.pool import Pool
from mindbot_worker.wire import Beat

from .oom import Oom


def victims(oom: Oom, pool: Pool, ref: Ref, beat: Beat, now: float) -> Iterator[Change]:
    """To be asked before the pool hears this beat. Only what is certain is told."""
    worker, history = pool.workers.get(ref), pool.histories.get(ref)
    if not beat.ended or worker is None or history is None:
        return
    for call in killed(history.calls(), beat):
        found = oom.explain(ref, call.pid, now) if call.pid is not None else None
        if found is not None and found.certain:
            fields = {**name(call), "process": call.pid, "detail": found.detail}
            yield Change(events.WORKER_OOM, now, ref, worker.pid, "error", fields)
