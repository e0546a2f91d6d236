"""Records a worker's calls: which are live, how they ended, their errors and usage. Pure: time is an argument."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from mindbot_worker.protocol import heartbeat
from mindbot_worker.protocol.job_reports import ENDING, STARTING, Report

CRASH, INIT = "crash", "init"
"""Kinds of error that only the worker sees: a job process died; one could not even be started."""

ENDED_REPEATED_FOR = 5.0
STORM_WINDOW = 60.0
_EARLY_MAX = 64


@dataclass(frozen=True, slots=True)
class StartedCall:
    """A call that LiveKit has given to a job process."""

    room: str
    job: str
    identity: str
    pid: int | None
    started: float
    """Unix time."""
    dispatch: str = ""


@dataclass(frozen=True, slots=True)
class _Live:
    call: StartedCall
    report: Report
    opened_at: float


class CallRecords:
    """Records the calls of one worker. `now` is the host's monotonic clock, by which job processes report, too."""

    def __init__(self, now: float) -> None:
        self._live: dict[str, _Live] = {}
        self._early: dict[str, Report] = {}
        self._ended: deque[tuple[float, heartbeat.Ended]] = deque()
        self._deaths: deque[float] = deque()
        self._active_at = now
        self.errors: Counter[str] = Counter()
        self.errors_fatal = 0
        self.errors_of_providers = 0
        self.usage: heartbeat.Usage = {}
        self.jobs_started = 0
        self.jobs_failed = 0

    @property
    def errors_total(self) -> int:
        return self.errors.total()

    def opened(self, call: StartedCall, now: float) -> None:
        self.jobs_started += 1
        self._active_at = now
        self._live[call.job] = _Live(call, Report(call.job, seq=-1, state=STARTING, active_at=now), now)
        if (early := self._early.pop(call.job, None)) is not None:
            self.reported(early, now)

    def reported(self, report: Report, now: float) -> bool:
        """Take a job's report; True if it says something that the supervisor should hear at once."""
        live = self._live.get(report.job)
        if live is None:
            self._keep_early(report)
            return False
        if report.seq <= live.report.seq:
            return False
        before = live.report
        self._count(before, report)
        # a clock from the future would make a dead call look alive for ever
        active_at = min(max(report.active_at, before.active_at), now)
        self._active_at = max(self._active_at, active_at)
        self._live[report.job] = replace(live, report=replace(report, active_at=active_at))
        return _urgent_fields(before) != _urgent_fields(report)

    def _keep_early(self, report: Report) -> None:
        # a job may speak before LiveKit says that it was launched
        self._early[report.job] = report
        while len(self._early) > _EARLY_MAX:
            del self._early[next(iter(self._early))]

    def _count(self, before: Report, report: Report) -> None:
        for kind, count in report.errors.items():
            if (more := count - before.errors.get(kind, 0)) > 0:
                self.errors[kind] += more
        self.errors_fatal += max(report.fatal - before.fatal, 0)
        self.errors_of_providers += max(report.of_providers - before.of_providers, 0)
        if report.usage != before.usage:
            self.usage = heartbeat.added([self.usage, heartbeat.grown(before.usage, report.usage)])

    def is_ending(self, job: str) -> bool:
        """Whether the agent of a job had finished, by its last report."""
        return job in self._live and self._live[job].report.state == ENDING

    def closed(self, job: str, *, died: bool, now: float) -> str | None:
        """The job process of a call is gone: returns how the call ended, or None for a job that is not known."""
        live = self._live.pop(job, None)
        if live is None:
            return None
        self._active_at = now
        outcome = heartbeat.KILLED if died else heartbeat.FAILED if live.report.failed else heartbeat.COMPLETED
        if died:
            self._fatal(CRASH)
        if outcome != heartbeat.COMPLETED:
            self.jobs_failed += 1
        self._ended.append((now, heartbeat.Ended(live.call.room, job, outcome, live.report.summary)))
        return outcome

    def idle_process_died(self, now: float) -> None:
        self._fatal(CRASH)
        self._deaths.append(now)

    def process_did_not_start(self, now: float) -> None:
        self._fatal(INIT)
        self._deaths.append(now)

    def _fatal(self, kind: str) -> None:
        self.errors[kind] += 1
        self.errors_fatal += 1

    def live(self, now: float, last_beat: Callable[[int], float | None] = lambda _: None) -> tuple[heartbeat.Call, ...]:
        """The live calls as a heartbeat lists them; `last_beat` tells when the loop of a job process last ran."""
        return tuple(
            heartbeat.Call(
                room=each.call.room,
                job=each.call.job,
                identity=each.call.identity,
                pid=each.call.pid,
                started=each.call.started,
                idle=max(now - each.report.active_at, 0.0),
                state=each.report.state,
                dispatch=each.call.dispatch,
                present=each.report.present,
                gone=None if each.report.gone_at is None else max(now - each.report.gone_at, 0.0),
                beat_age=_beat_age(each, last_beat, now),
            )
            for each in self._live.values()
        )

    def ended(self, now: float) -> tuple[heartbeat.Ended, ...]:
        """Calls that ended in the last seconds: a beat can be lost, so each is told in several."""
        while self._ended and self._ended[0][0] < now - ENDED_REPEATED_FOR:
            self._ended.popleft()
        return tuple(each for _, each in self._ended)

    def storm(self, now: float) -> int:
        """How many job processes failed to start, or died without a call, in the last minute."""
        while self._deaths and self._deaths[0] < now - STORM_WINDOW:
            self._deaths.popleft()
        return len(self._deaths)

    def idle(self, now: float) -> float:
        """Seconds since anything happened in any call."""
        return max(now - self._active_at, 0.0)


def _urgent_fields(report: Report) -> tuple[object, ...]:
    """The fields of a report whose change the supervisor should hear of at once."""
    return report.state, report.errors, report.fatal, report.present, report.gone_at is None


def _beat_age(live: _Live, last_beat: Callable[[int], float | None], now: float) -> float | None:
    """Seconds since the last beat or the call's start: a process that waits for its first call does not beat."""
    at = last_beat(live.call.pid) if live.call.pid is not None else None
    return None if at is None else max(now - max(at, live.opened_at), 0.0)
