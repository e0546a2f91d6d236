"""What holds whatever happens: Hypothesis plays the shell, the workers and the operator, and looks after every step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from pydantic import TypeAdapter

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import LookAtJob
from mindbot_supervisor.core.calls.call_liveness import Found
from mindbot_supervisor.core.calls.recovery import PRESSED
from mindbot_supervisor.core.calls.recovery_state import Alone, Contested, Failed, Recovered
from mindbot_supervisor.core.health.history import ERRORS_KEPT
from mindbot_supervisor.core.health.host_pressure import Host
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers import snapshot
from mindbot_supervisor.core.workers.model import BY_OPERATOR, Exit, Reason, Ref, Sample
from mindbot_supervisor.core.workers.slots import JITTER
from mindbot_worker.protocol.heartbeat import FROM_THREAD, Beat, Call, Ended, Failure

from .shell import YOUNG, Shell

ANY = st.integers(0, 99)
"""Chooses one of however many there are."""
SECONDS = st.sampled_from([0.0, 0.1, 1.0, 1.0, 1.0, 3.0, 12.0, 40.0, 100.0, 700.0, 4000.0])
CODES = [Exit(code=code) for code in (0, 1, 71, 78)] + [Exit(signal=number) for number in (9, 11, 15)]
EXITS = st.sampled_from([*CODES, Exit(signal=9, oom=True), Exit(code=1, shortage="pids.max of the cgroup")])
JOBS = st.lists(st.integers(0, 5), max_size=3)
BEATS = st.fixed_dictionaries(
    {"state": st.sampled_from(["starting", "ready", "ready", "ready", "draining"]), "jobs": JOBS},
    optional={
        "registered": st.sampled_from([None, False, True]),
        "problem": st.just("livekit refused the credentials (401)"),
        "errors_total": st.sampled_from([0, 5, 11, 40]),
        "jobs_storm": st.sampled_from([0, 20]),
        "jobs_started": st.sampled_from([0, 60]),
        "ended": st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["completed", "failed", "killed"])), max_size=3),
        "idle": st.sampled_from([0.0, 400.0]),
        "gone": st.sampled_from([0.0, 70.0]),
        "present": st.booleans(),
        "stolen": st.integers(0, 99),
        "beat_age": st.sampled_from([0.0, 0.5, 4.0, 11.0]),
        "failure": st.just(Failure(78, "no module named x")),
    },
)
FAILED = [Failed("no"), Failed("?", blind=True), Failed("-", nobody=True), Failed("x", final=True)]
FAILED += [Failed("no", untouched=True), Failed("?", blind=True, untouched=True)]
ANSWERS = st.sampled_from([Recovered("agent"), Alone(), Contested("LiveKit says so"), *FAILED])
HOSTS = st.sampled_from([Host(), Host(memory_full=50.0), Host(cpu_some=99.0), Host(available_mb=10.0, total_mb=9000.0)])


SNAPSHOT = TypeAdapter(snapshot.Snapshot)


def job(number: int, ref: Ref) -> str:
    return f"AJ_{ref}_{number}"


class PoolMachine(Shell):
    """Everything that can happen to a pool, in any order."""

    @initialize(
        workers=st.integers(1, 4), unavailable=st.integers(1, 2), beats=st.booleans(), recovery=st.booleans(),
        max_age=st.sampled_from([0, 50]),
        leftovers=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=2, unique_by=lambda each: each[0]),
    )  # fmt: skip
    def start(self, **terms) -> None:
        self.begin(**terms)
        self.tick(0.0)

    # -- what can happen -----------------------------------------------------------------------------------------------

    @rule(seconds=SECONDS)
    def tick(self, seconds: float) -> None:
        self.now += seconds
        held, before = self.pool.brake.hold, self.leaving()
        self.do(self.pool.tick(self.now))
        if held and self.pool.brake.hold:
            chosen = self.leaving().items() - before.items()
            assert all(verdict.reason in BY_OPERATOR for _, verdict in chosen), "nobody leaves while the pool is held"
        due = self.pool.wake_at()
        assert due is None or due > self.now, "what is due was done, or the shell would never sleep"

    @rule(seconds=st.integers(1, 40), calls=st.integers(0, 2))
    def live_on(self, seconds: int, calls: int) -> None:
        """Time passes and everybody is well; what was killed is gone."""
        self.start_at_once()
        for ref in sorted(self.killed):
            self.end(ref, Exit(signal=9))
        for _ in range(seconds):
            for ref in sorted(self.alive):
                state = "draining" if ref in self.termed else "ready"
                live = tuple(Call(f"r{n}", job(n, ref)) for n in range(calls))
                self.beat_now(ref, Beat(0, state, registered=True, calls=live))
            self.tick(1.0)

    def beat_now(self, ref: Ref, beat: Beat) -> None:
        self.seqs[ref] += 1
        self.do(self.pool.beat(ref, replace(beat, seq=self.seqs[ref]), self.now))

    @precondition(lambda self: self.alive)
    @rule(number=ANY, fields=BEATS)
    def beat(self, number: int, fields: dict[str, object]) -> None:
        self.beat_now(self.one(number), self.build(self.one(number), **fields))

    def build(self, ref: Ref, jobs: list[int], ended=(), stolen=None, **fields) -> Beat:
        """`stolen`: the worker names a call of another one as its own, too."""
        of_call = {name: fields.pop(name) for name in ("idle", "beat_age", "gone", "present") if name in fields}
        calls = tuple(Call(f"r{n}", job(n, ref), pid=900 + n, **of_call) for n in jobs)
        theirs = [call for other in sorted(self.alive) if other != ref for call in self.pool.histories[other].calls()]
        if stolen is not None and theirs:
            calls += (theirs[stolen % len(theirs)],)
        over = tuple(Ended(f"r{n}", job(n, ref), outcome) for n, outcome in ended)
        return Beat(0, calls=calls, ended=over, **fields)

    @precondition(lambda self: self.pool.active_calls)
    @rule(number=ANY)
    def agents_die(self, number: int) -> None:
        """The job processes of one worker's calls are killed; the worker lives."""
        ref = [ref for ref in sorted(self.alive) if self.pool.histories[ref].calls()][0 if number < 50 else -1]
        over = tuple(Ended(call.room, call.job, "killed") for call in self.pool.histories[ref].calls())
        self.beat_now(ref, Beat(0, "ready", ended=over))

    @precondition(lambda self: self.looks)
    @rule(number=ANY, belongs=st.booleans(), stopped=st.booleans())
    def silent_job_is_looked_at_or_killed(self, number: int, belongs: bool, stopped: bool) -> None:
        """Late, it may be, and of a worker that is gone. One that was killed is told as dead."""
        asked = self.looks.pop(number % len(self.looks))
        found = Found(belongs=belongs, stopped=stopped, stack="File agent.py, line 3 in entry")
        if isinstance(asked, LookAtJob):
            self.do(self.pool.job_looked(asked.ref, asked.job, found, self.now))
            return
        self.do(self.pool.job_killed(asked.ref, asked.job, found, self.now))
        history = self.pool.histories.get(asked.ref)
        if belongs and asked.ref in self.alive and history is not None:
            left = tuple(call for call in history.calls() if call.job != asked.job)
            over = tuple(Ended(call.room, call.job, "killed") for call in history.calls() if call.job == asked.job)
            self.beat_now(asked.ref, Beat(0, "ready", calls=left, ended=over))

    @precondition(lambda self: self.alive)
    @rule(number=ANY, back=st.integers(0, 3), fields=BEATS)
    def beat_comes_late_or_twice(self, number: int, back: int, fields: dict[str, object]) -> None:
        ref = self.one(number)
        if self.seqs[ref] == 0:
            return
        before = self.pool.workers[ref], self.pool.histories[ref].calls()
        old = replace(self.build(ref, **fields), seq=max(self.seqs[ref] - back, 0))
        self.do(self.pool.beat(ref, old, self.now))
        assert before == (self.pool.workers[ref], self.pool.histories[ref].calls())

    @precondition(lambda self: self.dead)
    @rule(number=ANY, fields=BEATS, how=EXITS)
    def dead_one_is_heard(self, number: int, fields: dict[str, object], how: Exit) -> None:
        ref = self.dead[number % len(self.dead)]
        before = dict(self.pool.workers)
        self.do(self.pool.beat(ref, replace(self.build(ref, **fields), seq=10**6), self.now))
        self.do(self.pool.beat_rejected(ref, "not JSON", self.now))
        self.do(self.pool.sample(ref, Sample(999, 999, 999), self.now))
        self.do(self.pool.exited(ref, how, self.now))
        assert before == self.pool.workers

    @precondition(lambda self: self.alive)
    @rule(number=ANY)
    def thread_is_heard(self, number: int) -> None:
        self.do(self.pool.beat(self.one(number), Beat(1, "ready", source=FROM_THREAD), self.now))

    @precondition(lambda self: self.alive)
    @rule(number=ANY, times=st.sampled_from([1, 3, 20]))
    def beat_is_rejected(self, number: int, times: int) -> None:
        for _ in range(times):
            self.do(self.pool.beat_rejected(self.one(number), "not JSON", self.now))

    @precondition(lambda self: self.alive)
    @rule(number=ANY, mb=st.sampled_from([50.0, 150.0, 250.0, 350.0]), cpu=st.sampled_from([0.0, 99.0]))
    def sample(self, number: int, mb: float, cpu: float) -> None:
        self.do(self.pool.sample(self.one(number), Sample(mb, mb, mb, cpu), self.now))

    @rule(listed=st.booleans())
    def livekit_lists_rooms(self, listed: bool) -> None:
        rooms = [f"r{number}" for number in range(6)]
        self.do(self.pool.rooms_listed(rooms, rooms if listed else [], self.now))

    @rule(host=HOSTS)
    def host(self, host: Host) -> None:
        self.do(self.pool.host(host, self.now))

    @precondition(lambda self: self.alive)
    @rule(number=ANY, how=EXITS)
    def exit(self, number: int, how: Exit) -> None:
        self.end(self.one(number), how)

    @rule(times=st.integers(1, 8))
    def spawns_will_fail(self, times: int) -> None:
        self.refuse = times

    @rule(times=st.integers(1, 8))
    def the_host_runs_short(self, times: int) -> None:
        self.short = times

    @rule()
    def spawns_take_a_while(self) -> None:
        self.slow = True

    @precondition(lambda self: self.starting)
    @rule(number=ANY)
    def spawn_is_done(self, number: int) -> None:
        self.started(self.starting[number % len(self.starting)])

    def start_at_once(self) -> None:
        self.slow = False
        for ref in list(self.starting):
            self.started(ref)

    @precondition(lambda self: self.attempts)
    @rule(number=ANY, answer=ANSWERS)
    def attempt_is_answered(self, number: int, answer: object) -> None:
        self.do(self.pool.answered(self.attempts.pop(number % len(self.attempts)), answer, self.now))

    @precondition(lambda self: self.attempts)
    @rule(number=ANY)
    def old_agent_is_taken_out(self, number: int) -> None:
        self.do(self.pool.left_alone(self.attempts[number % len(self.attempts)], self.now))

    # -- what operators ask --------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.pool.stopping)
    @rule(
        number=ANY,
        all_of_them=st.booleans(),
        reason=st.sampled_from([Reason.OPERATOR, Reason.CONFIG]),
        hurry=st.booleans(),
    )
    def restart(self, number: int, all_of_them: bool, reason: Reason, hurry: bool) -> None:
        indexes = sorted(index for index, slot in self.pool.slots.items() if not slot.surplus)
        chosen = indexes if all_of_them else [indexes[number % len(indexes)]]
        self.do(self.pool.restart(chosen, self.now, reason, hurry=hurry))

    @precondition(lambda self: not self.pool.stopping)
    @rule(number=ANY)
    def drain(self, number: int) -> None:
        self.do(self.pool.drain([sorted(self.pool.slots)[number % len(self.pool.slots)]], self.now))

    @precondition(lambda self: not self.pool.stopping)
    @rule(workers=st.integers(1, 5))
    def scale(self, workers: int) -> None:
        self.wanted = workers
        self.do(self.pool.scale(workers, self.now))

    @rule(held=st.booleans())
    def hold(self, held: bool) -> None:
        self.do(self.pool.hold(held, self.now))

    @precondition(lambda self: self.steps > 25)
    @rule(at_once=st.booleans())
    def stop(self, at_once: bool) -> None:
        self.do(self.pool.stop_now(self.now) if at_once else self.pool.stop(self.now))

    @precondition(lambda self: not self.pool.stopping)
    @rule(seconds=st.sampled_from([0.5, 20.0]))
    def upgrade(self, seconds: float) -> None:
        """Another daemon goes on in this one's place, a moment later. What it is handed has been a file meanwhile."""
        self.start_at_once()
        handed = SNAPSHOT.validate_json(SNAPSHOT.dump_json(snapshot.take(self.pool)))
        self.now += seconds
        fresh = Pool(self.policy, self.now)
        if self.pool.recovery is not None:
            fresh.recover_by(self.pool.recovery.terms)
            self.count_superseded(fresh)
        snapshot.put(fresh, handed, self.now)
        assert snapshot.take(fresh).workers == snapshot.take(self.pool).workers
        self.pool = fresh
        self.tried.clear()
        self.attempts.clear()
        self.tick(1.0)
        cases = self.pool.recovery.cases.values() if self.pool.recovery is not None else ()
        waiting = {case.call.job for case in cases if case.due is None}
        assert waiting <= set(self.attempts), "who waits for an answer has asked for an attempt"

    # -- what holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        self.no_slot_has_two_seated_workers()
        self.the_pool_knows_exactly_the_living()
        self.only_so_many_leave_at_one_time()
        self.waits_are_bounded()
        self.memory_is_bounded()
        self.every_end_is_told_once()
        self.every_call_is_counted_once()
        self.only_so_many_calls_are_moved_at_one_time()
        self.sound, self.steps = True, self.steps + 1

    def no_slot_has_two_seated_workers(self) -> None:
        seats = Counter(ref.slot for ref, worker in self.pool.workers.items() if worker.seated)
        assert all(count == 1 for count in seats.values())

    def the_pool_knows_exactly_the_living(self) -> None:
        living = {*self.alive, *self.starting, *self.waiting}
        assert set(self.pool.workers) == set(self.pool.histories) == living
        assert len(living) == len(self.alive) + len(self.starting) + len(self.waiting)
        assert all(self.pool.workers[ref].pid == pid for ref, pid in self.alive.items())

    def only_so_many_leave_at_one_time(self) -> None:
        assert len(self.leaving()) <= self.policy.pool.max_unavailable

    def waits_are_bounded(self) -> None:
        for slot in self.pool.slots.values():
            limit = self.policy.restart.park_window if slot.parked else self.policy.restart.backoff_max
            assert slot.retry_at is None or slot.retry_at - self.now <= limit * (1 + JITTER) + 1e-6

    def memory_is_bounded(self) -> None:
        pool, living = self.pool, {*self.alive, *self.starting, *self.waiting}
        assert self.tried <= set(pool.shortage.waiting) and pool.shortage._under_way <= {*self.alive, *self.starting}
        assert pool.shortage.since is not None or not (pool.shortage.waiting or pool.shortage._under_way)
        assert {ref for ref, _ in pool.warned} <= living
        assert set(pool.pressure._least) <= living
        assert {*pool.claims._held, *pool.claims._contested} <= living
        assert set(pool.claims._jobs) == {job for held in pool.claims._held.values() for job in held}
        assert len([slot for slot in pool.slots.values() if not slot.surplus]) == self.wanted
        assert {index for index, slot in pool.slots.items() if slot.surplus} <= {ref.slot for ref in living}
        assert all(len(slot.failures) <= self.policy.restart.park_after for slot in pool.slots.values())
        for history in pool.histories.values():
            assert len(history.errors) <= ERRORS_KEPT
            assert set(history.rooms.since) <= {call.job for call in history.calls()} | history.rooms.over
            assert set(history.trend._live) == {call.job for call in history.calls()}
            assert set(history.jobs) <= {call.job for call in history.calls()}
        assert pool.rollout is None or len(pool.rollout.under_way) <= self.policy.pool.max_unavailable

    def every_end_is_told_once(self) -> None:
        assert self.exits == Counter(self.dead)

    def every_call_is_counted_once(self) -> None:
        pool, counts = self.pool, self.pool.counts
        cases, active = 0, pool.active_calls
        if pool.recovery is not None:
            cases = len(pool.recovery.cases)
            active = sum(not pool.recovery.left(call.job) for ref in pool.histories for call in pool.settled(ref))
        else:
            active = sum(len(pool.settled(ref)) for ref in pool.histories)
        counted = counts.ended + counts.lost + counts.cut_by_us + counts.recovered + counts.migrated
        assert self.told[log_events.CALL_STARTED] == active + cases + counted + self.superseded
        assert min(counts.ended, counts.lost, counts.cut_by_us, counts.recovered, counts.migrated) >= 0

    def only_so_many_calls_are_moved_at_one_time(self) -> None:
        recovery = self.pool.recovery
        if recovery is not None:
            moving = [case for case in recovery.cases.values() if case.moved]
            assert len(moving) <= recovery.terms.at_once * PRESSED
            assert all(case.moved for case in recovery.cases.values() if case.attended)

    def teardown(self) -> None:
        """Nobody ends by itself: the pool still gets rid of all, and of what it knew of them."""
        if not getattr(self, "sound", False):
            return  # a step failed before
        self.do(self.pool.stop(self.now))
        assert not any(worker.phase in YOUNG for worker in self.pool.workers.values())
        deadline = self.now + self.policy.pool.drain_timeout + 60
        while (self.pool.workers or (self.pool.recovery and self.pool.recovery.cases)) and self.now < deadline:
            self.start_at_once()
            for ref in sorted(self.killed):
                self.end(ref, Exit(signal=9))
            self.tick(1.0)
            self.every_call_is_counted_once()
        assert not self.pool.workers and not self.alive
        self.every_end_is_told_once()
        self.memory_is_bounded()


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
