"""What is remembered of one worker: its beats, errors and samples, in bounded windows."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mindbot_supervisor.core.calls import call_liveness
from mindbot_supervisor.core.calls.call_liveness import JobBeat
from mindbot_supervisor.core.calls.gone_rooms import GoneRooms
from mindbot_supervisor.core.health.memory_trend import Leak, Trend
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Phase, Sample, Worker
from mindbot_worker.protocol.heartbeat import FROM_THREAD, Beat, Call

WARM_UP = 120.0
"""Seconds after ready in which memory says nothing: job processes are started ahead, modules and caches fill."""
ERRORS_KEPT = 512
"""Error reports kept for the window, one a second; each may stand for many errors."""
DROPS_TOLD_EVERY = 60.0
"""Seconds between two words on heartbeats that were passed over."""


@dataclass(frozen=True, slots=True)
class Observation:
    """All that the rules may look at, for one worker at one moment. Durations in seconds."""

    phase: Phase
    roll: float
    age: float
    beaten: bool
    silence: float
    """Since the last beat of the worker's own loop, or since it was spawned."""
    thread_silence: float | None
    """Since the last beat of its thread; None if it never sent one."""
    unregistered_for: float
    """While LiveKit answered a sibling all the time: what it misses while LiveKit is away is not its fault."""
    rejected: int
    errors: int
    errors_by: Mapping[str, int]
    calls: tuple[Call, ...]
    """As last reported; `idle` is brought forward to now."""
    sample: Sample | None
    cpu_over_for: float
    jobs_started: int
    jobs_storm: int
    leak: Leak | None
    provider_errors: int = 0
    """Of `errors`: those that are a provider's doing, and say nothing about the worker."""
    job_silence: float = 0.0
    """The longest that the process of one of its calls was silent when the worker was last heard."""

    @property
    def lingering(self) -> bool:
        return self.phase in (Phase.DRAINING, Phase.KILLING)


@dataclass(slots=True)
class History:
    """The facts of one worker, as they come in. All of its fields go over to the next daemon at an upgrade."""

    born: float
    beat: Beat | None = None
    loop_at: float | None = None
    thread_at: float | None = None
    anew: float | None = None
    """When the silence of its loop was last begun anew."""
    jobs: dict[str, JobBeat] = field(default_factory=dict)
    """Its calls' job processes, as far as they beat."""
    rejected: int = 0
    rejected_total: int = 0
    dropped_total: int = 0
    """Lines that were passed over because there were too many."""
    drops_told_at: float | None = None
    sample: Sample | None = None
    cpu_over_since: float | None = None
    unregistered_since: float | None = None
    errors_seen: int = 0
    by_seen: dict[str, int] = field(default_factory=dict)
    errors: deque[tuple[float, int, Mapping[str, int]]] = field(default_factory=lambda: deque(maxlen=ERRORS_KEPT))
    provider_errors_seen: int = 0
    provider_errors: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=ERRORS_KEPT))
    trend: Trend = field(default_factory=Trend)
    rooms: GoneRooms = field(default_factory=GoneRooms)
    """What is known of the rooms of its calls."""

    def __post_init__(self) -> None:
        """One that was handed over by another daemon comes with plain lists."""
        self.errors = deque(self.errors, maxlen=ERRORS_KEPT)
        self.provider_errors = deque(self.provider_errors, maxlen=ERRORS_KEPT)

    def hear(self, beat: Beat, now: float) -> bool:
        """Take a beat in. False if it is an old one that came late or twice: it changes nothing."""
        if beat.source == FROM_THREAD:
            self.thread_at = now
            return False
        if self.beat is not None and beat.seq <= self.beat.seq:
            return False
        calls = {call.job: call for call in self.rooms.hear(beat.calls, now, self.born)}
        if len(calls) < len(beat.calls):
            beat = replace(beat, calls=tuple(calls.values()))  # a job that is named twice is one call
        self.rejected = 0
        self.beat, self.loop_at = beat, now
        if beat.calls or self.jobs:
            self.jobs = call_liveness.heard(self.jobs, beat.calls, now)
        self._count_errors(beat, now)
        self.trend.calls(calls, now)
        if beat.registered is False:
            self.unregistered_since = now if self.unregistered_since is None else self.unregistered_since
        else:
            self.unregistered_since = None
        return True

    def _count_errors(self, beat: Beat, now: float) -> None:
        """`errors.total` only grows within a generation; a smaller one is a worker's mistake and is ignored."""
        fresh = beat.errors_total - self.errors_seen
        if fresh <= 0:
            return
        more = {kind: n - self.by_seen.get(kind, 0) for kind, n in beat.errors_by.items()}
        kinds = {kind: n for kind, n in more.items() if n > 0}
        if self.errors and int(self.errors[-1][0]) == int(now):
            _, earlier, by = self.errors.pop()
            fresh, kinds = earlier + fresh, Counter(by) + Counter(kinds)
        self.errors.append((now, fresh, kinds))
        self.errors_seen, self.by_seen = beat.errors_total, dict(beat.errors_by)
        if (theirs := beat.errors_of_providers - self.provider_errors_seen) > 0:
            self.provider_errors.append((now, theirs))
            self.provider_errors_seen = beat.errors_of_providers

    def reject(self) -> None:
        self.rejected += 1
        self.rejected_total += 1

    def drop(self, count: int, now: float) -> bool:
        """Lines were passed over; whether it is time to say so."""
        self.dropped_total += count
        if self.drops_told_at is not None and now - self.drops_told_at < DROPS_TOLD_EVERY:
            return False
        self.drops_told_at = now
        return True

    def take(self, sample: Sample, now: float, cpu_limit: float) -> None:
        """Take a sample in. CPU counts as high from the first sample above the limit while there is no call."""
        self.sample = sample
        busy_for_nothing = 0 < cpu_limit < sample.cpu_percent and not self.calls()
        if not busy_for_nothing:
            self.cpu_over_since = None
        elif self.cpu_over_since is None:
            self.cpu_over_since = now

    def forgive(self, gap: float, now: float) -> None:
        """The supervisor itself did not run for `gap` seconds: nobody was silent in that time."""
        self._forgive_worker(gap, now)
        for job in self.jobs.values():
            job.forgive(gap, now)

    def _forgive_worker(self, gap: float, now: float) -> None:
        if self.loop_at is not None:
            self.anew = min(self.anew + gap, now) if not self.heard_since and self.anew is not None else self.anew
            self.loop_at = min(self.loop_at + gap, now)
        if self.thread_at is not None:
            self.thread_at = min(self.thread_at + gap, now)
        self.born += gap if self.loop_at is None else 0

    @property
    def heard_since(self) -> bool:
        """Whether its loop was heard after its silence was last begun anew."""
        return self.loop_at is not None and (self.anew is None or self.loop_at > self.anew)

    def begin_anew(self, gap: float, now: float) -> None:
        """The host was stalled: its silence and those of its jobs begin anew; or only without the `gap`, if they were
        not heard since the last time.
        """
        fresh = self.heard_since
        self._forgive_worker(gap, now)
        if fresh:
            self.loop_at = self.anew = now
        for job in self.jobs.values():
            job.begin_anew(gap, now)

    def calls(self) -> tuple[Call, ...]:
        return self.beat.calls if self.beat is not None else ()

    def attended(self) -> int:
        """How many calls have somebody in them, as far as that is known."""
        return sum(self.rooms.attended(call) for call in self.calls())

    def end(self, job: str, now: float) -> None:
        """This call is over, whatever its worker says of it from now on."""
        self.rooms.over.add(job)
        self.jobs.pop(job, None)
        if self.beat is not None:
            self.beat = replace(self.beat, calls=tuple(call for call in self.beat.calls if call.job != job))
            self.trend.calls([call.job for call in self.beat.calls], now)

    def errors_within(self, window: float, now: float) -> tuple[int, Mapping[str, int]]:
        """How many errors the last `window` seconds brought, in all and by kind."""
        while self.errors and now - self.errors[0][0] >= window:
            self.errors.popleft()
        if not self.errors:
            return 0, {}
        by: Counter[str] = Counter()
        for _, _, kinds in self.errors:
            by.update(kinds)
        return sum(n for _, n, _ in self.errors), by

    def provider_errors_within(self, window: float, now: float) -> int:
        """How many of them were a provider's doing."""
        while self.provider_errors and now - self.provider_errors[0][0] >= window:
            self.provider_errors.popleft()
        return sum(count for _, count in self.provider_errors)

    def _follow_memory(self, worker: Worker, now: float) -> None:
        """Its memory counts from WARM_UP after it was ready until it leaves service."""
        ready_for = now - worker.ready_at if worker.ready_at is not None and worker.serving else 0.0
        if self.sample is not None and ready_for >= WARM_UP:
            self.trend.see(self.sample.uss_mb, self.sample.pss_mb, now, worker.roll)

    def _unregistered_for(self, now: float, answered_since: float | None) -> float:
        if self.unregistered_since is None or answered_since is None:
            return 0.0
        return now - max(self.unregistered_since, answered_since)

    def observe(self, worker: Worker, policy: Policy, now: float, answered_since: float | None) -> Observation:
        """`answered_since`: LiveKit has answered at least one worker of the pool from then on; None: it does not."""
        self._follow_memory(worker, now)
        total, by = self.errors_within(policy.limits.error_window, now)
        beat = self.beat
        since_beat = now - self.loop_at if self.loop_at is not None else 0.0
        return Observation(
            phase=worker.phase,
            roll=worker.roll,
            age=now - worker.spawned_at,
            beaten=self.loop_at is not None,
            silence=now - (self.loop_at if self.loop_at is not None else self.born),
            thread_silence=None if self.thread_at is None else now - self.thread_at,
            unregistered_for=self._unregistered_for(now, answered_since),
            rejected=self.rejected,
            errors=total,
            errors_by=by,
            calls=tuple(_later(call, since_beat) for call in self.calls()),
            sample=self.sample,
            cpu_over_for=0.0 if self.cpu_over_since is None else now - self.cpu_over_since,
            jobs_started=beat.jobs_started if beat else 0,
            jobs_storm=beat.jobs_storm if beat else 0,
            leak=self.trend.leak(policy.memory_soft_mb),
            provider_errors=self.provider_errors_within(policy.limits.error_window, now),
            job_silence=max((job.age for job in self.jobs.values()), default=0.0),
        )


def _later(call: Call, seconds: float) -> Call:
    if seconds <= 0:
        return call
    known = (call.dispatch, call.beat_age, call.present, call.gone)
    return Call(call.room, call.job, call.identity, call.pid, call.started, call.idle + seconds, call.state, *known)
