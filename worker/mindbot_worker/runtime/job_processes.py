"""Follows the job processes of LiveKit's pool: records their calls, and decides when warm ones are started."""

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
    """Records a call at its start and end by events of the pool, and in between by the reports of its job."""

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

    def on_warm_request(self, processes: int) -> None:
        """The supervisor expects calls that need so many warm job processes."""
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
            had_ended_its_call = internals.exit_is_unknown(process) and self._calls.is_ending(info.job.id)
            died = internals.died(process) and not had_ended_its_call
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
        """Hold the next start back: LiveKit starts a failed process again at once, for ever, on all cores."""
        self._failures_in_a_row += 1
        if seconds := backoff(self._failures_in_a_row):
            hold = asyncio.ensure_future(internals.hold_process_start(self._server, seconds))
            self._holds.add(hold)
            hold.add_done_callback(self._holds.discard)

    def _call_ended(self, job: str, room: str, *, died: bool) -> None:
        outcome = self._calls.closed(job, died=died, now=time.monotonic())
        self._garbage.call_ended()
        if outcome is not None:
            logger.info("a call has ended", extra={"event": ENDED, "room": room, "job": job, "outcome": outcome})


def backoff(failures_in_a_row: int) -> float:
    """Seconds before the next job process may start, after so many that failed to."""
    beyond = failures_in_a_row - _FREE_ATTEMPTS
    return min(float(1 << min(beyond, 10)), _PAUSE_MAX) if beyond >= 0 else 0.0


HELD_FOR, HELD_AT_MOST = 1.0, 3.0
"""Seconds after the last call's start; and seconds at most, where calls start one after the other."""


class HeldBackProcesses:
    """Delays the start of warm processes while calls start, which need the CPU more. For the loop's thread only.

    `hold` is called with True to start none, and with False to go on.
    """

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
        self._due = loop.call_at(min(loop.time() + HELD_FOR, self._since + HELD_AT_MOST), self._release)

    def _release(self) -> None:
        self._due = None
        self._hold(False)


KEPT = 15.0
"""Seconds after which extra warm processes that no call has taken are ended."""


class WarmProcessesAhead:
    """Starts extra warm processes for calls that are expected, and ends the unused ones later. For the loop's thread.

    `start` is called with how many are to be warm, `end_surplus` to go back to the usual number.
    """

    def __init__(self, start: Callable[[int], None], end_surplus: Callable[[], None]) -> None:
        self._start, self._end_surplus = start, end_surplus
        self._over: asyncio.TimerHandle | None = None

    def prepare(self, processes: int) -> None:
        if self._over is not None:
            self._over.cancel()
        self._over = asyncio.get_running_loop().call_later(KEPT, self._end_surplus)
        self._start(processes)
