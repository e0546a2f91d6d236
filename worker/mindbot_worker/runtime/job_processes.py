"""Follows LiveKit's pool of job processes into the book of calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from livekit.agents import AgentServer

from mindbot_worker.livekit_adapter import internals
from mindbot_worker.protocol.job_reports import Report
from mindbot_worker.runtime.call_records import CallRecords, StartedCall
from mindbot_worker.runtime.inbox import Inbox
from mindbot_worker.runtime.memory_report import GarbageCollection

STARTED, ENDED = "job.started", "job.ended"

_FREE_ATTEMPTS = 3
_PAUSE_MAX = 10.0

logger = logging.getLogger(__name__)


class JobProcessWatch:
    """Calls start and end with pool events; in between their own reports come in through the inbox."""

    def __init__(
        self,
        server: AgentServer,
        calls: CallRecords,
        inbox: Inbox,
        changed: Callable[[], None],
        garbage: GarbageCollection,
    ) -> None:
        self._garbage = garbage
        self._server, self._calls, self._inbox, self._changed = server, calls, inbox, changed
        self._ready: set[int] = set()
        self._failures_in_a_row = 0
        self._holds: set[asyncio.Task[None]] = set()

    def install(self) -> None:
        """Once the pool exists and before it starts."""
        usual = internals.idle_processes(self._server)
        self._held_back = HeldBackProcesses(lambda held: internals.keep_idle(self._server, 0 if held else usual))
        self._warm_ahead = WarmProcessesAhead(
            partial(internals.start_processes, self._server), partial(internals.end_processes, self._server, usual)
        )
        internals.on_pool_event(self._server, "process_ready", self._on_ready)
        internals.on_pool_event(self._server, "process_job_launched", self._on_launched)
        internals.on_pool_event(self._server, "process_closed", self._on_closed)

    def on_report(self, report: Report) -> None:
        if self._calls.reported(report, time.monotonic()):
            self._changed()

    def on_coming(self, processes: int) -> None:
        """Calls are on their way that want so many of them."""
        self._warm_ahead.prepare(processes)

    def _on_ready(self, process: Any) -> None:
        self._ready.add(id(process))
        self._failures_in_a_row = 0
        internals.open_for_calls(self._server)

    def _on_launched(self, process: Any) -> None:
        info = internals.running_job(process)
        if info is None:
            return
        call = StartedCall(
            room=info.job.room.name,
            job=info.job.id,
            identity=info.accept_arguments.identity,
            pid=internals.pid(process),
            started=round(info.launched_at or time.time(), 3),
            dispatch=info.job.dispatch_id,
        )
        self._calls.opened(call, time.monotonic())
        self._garbage.call_started()
        self._held_back.call_started()
        logger.info("a call has started", extra={"event": STARTED, "room": call.room, "job": call.job})
        self._changed()

    def _on_closed(self, process: Any) -> None:
        self._inbox.read()
        self._inbox.job_beats.forget(internals.pid(process))
        was_ready = id(process) in self._ready
        self._ready.discard(id(process))
        info = internals.running_job(process)
        if info is not None:
            said_goodbye = internals.nobody_knows_how(process) and self._calls.is_ending(info.job.id)
            died = internals.died(process) and not said_goodbye
            self._call_ended(info.job.id, info.job.room.name, died=died)
        elif internals.is_closing(self._server):
            return  # told to go
        elif not was_ready:
            self._calls.process_did_not_start(time.monotonic())
            self._slow_down()
        elif internals.died(process):
            self._calls.idle_process_died(time.monotonic())
        self._changed()

    def _slow_down(self) -> None:
        """LiveKit starts a failed process again at once, for ever: that keeps all cores of the host busy."""
        self._failures_in_a_row += 1
        if seconds := pause(self._failures_in_a_row):
            hold = asyncio.ensure_future(internals.hold_process_start(self._server, seconds))
            self._holds.add(hold)
            hold.add_done_callback(self._holds.discard)

    def _call_ended(self, job: str, room: str, *, died: bool) -> None:
        outcome = self._calls.closed(job, died=died, now=time.monotonic())
        self._garbage.call_ended()
        if outcome is not None:
            logger.info("a call has ended", extra={"event": ENDED, "room": room, "job": job, "outcome": outcome})


def pause(failures_in_a_row: int) -> float:
    """Seconds before the next job process may start, after so many that failed to."""
    beyond = failures_in_a_row - _FREE_ATTEMPTS
    return min(float(1 << min(beyond, 10)), _PAUSE_MAX) if beyond >= 0 else 0.0


AFTER, WITHIN = 1.0, 3.0
"""Seconds after the last call began; and seconds at most, where calls begin one after the other."""


class HeldBackProcesses:
    """`hold` is told whether to start no warm processes. Belongs to the loop's thread."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        self._hold = hold
        self._due: asyncio.TimerHandle | None = None
        self._since = 0.0

    def call_started(self) -> None:
        loop = asyncio.get_running_loop()
        if self._due is None:
            self._since = loop.time()
            self._hold(True)
        else:
            self._due.cancel()
        self._due = loop.call_at(min(loop.time() + AFTER, self._since + WITHIN), self._go_on)

    def _go_on(self) -> None:
        self._due = None
        self._hold(False)


KEPT = 15.0
"""Seconds after which those that no call has taken are ended."""


class WarmProcessesAhead:
    """`start` is told how many processes are to be warm, `end_surplus` that no more than usual are. Belongs to the
    loop's thread.
    """

    def __init__(self, start: Callable[[int], None], end_surplus: Callable[[], None]) -> None:
        self._start, self._end_surplus = start, end_surplus
        self._over: asyncio.TimerHandle | None = None

    def prepare(self, processes: int) -> None:
        if self._over is not None:
            self._over.cancel()
        self._over = asyncio.get_running_loop().call_later(KEPT, self._end_surplus)
        self._start(processes)
