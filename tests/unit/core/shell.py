"""The shell as a test plays it: carries out what the pool asks for, and checks each action as it is done."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import RuleBasedStateMachine

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import (
    DumpStacks,
    GiveUp,
    Kill,
    KillJob,
    LookAtJob,
    Recover,
    Spawn,
    Terminate,
    Withdraw,
)
from mindbot_supervisor.core.calls.recovery_state import Case, Terms
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.core.workers.model import Exit, Phase, Ref, Verdict

from .build import policy

YOUNG = (Phase.STARTING, Phase.READY)
LIMITS = {"memory_soft_mb": 200, "memory_hard_mb": 300, "max_jobs": 50}


class Shell(RuleBasedStateMachine):
    """`alive` are the processes that exist, `starting` those that were asked for, while starting one is `slow`.
    The pool itself keeps those `waiting` for which the host had nothing left.

    `sound` says that nothing was found wrong in the last step.
    """

    def begin(self, workers, unavailable, beats, recovery, max_age, leftovers) -> None:
        self.policy = policy(
            pool={"workers": workers, "max_unavailable": unavailable},
            limits={**LIMITS, "max_age": max_age},
            restart={"backoff_max": 1.0, "park_after": 4, "park_retry": 5.0, "park_window": 30.0},
            beats_required=beats,
        )
        self.now, self.wanted, self.steps = 0.0, workers, 0
        self.pool = Pool(self.policy, self.now)
        self.pool.recover_by(Terms(2, 5.0, at_once=2) if recovery else None)
        self.alive: dict[Ref, int] = {}
        self.starting: list[Ref] = []
        self.slow = False
        self.dead: list[Ref] = []
        self.tried: set[Ref] = set()
        """Those that could not be started, and for which the pool waits."""
        self.generations: dict[int, int] = {}
        self.seqs: Counter[Ref] = Counter()
        self.termed: set[Ref] = set()
        self.killed: set[Ref] = set()
        self.attempts: list[str] = []
        self.looks: list[LookAtJob | KillJob] = []
        self.refuse = self.short = self.pids = self.superseded = 0
        self.told: Counter[str] = Counter()
        self.exits: Counter[Ref] = Counter()
        self.ever_ready = self.sound = False
        if self.pool.recovery is not None:
            self.count_superseded(self.pool)
        for slot, termed in leftovers:
            self.adopt(Ref(slot, 3), termed)

    def adopt(self, ref: Ref, termed: bool) -> None:
        """A worker of the daemon before this one."""
        self.generations[ref.slot], self.alive[ref] = ref.generation, 10_000 + ref.slot
        self.do(self.pool.adopt(ref, self.alive[ref], self.now, termed=termed))

    def count_superseded(self, pool: Pool) -> None:
        """Jobs that never had a call of their own: of a new agent that died the call is the one that was lost before,
        and a new agent that was called off had none at all.
        """
        recovery = pool.recovery
        supersede, without_successor = recovery._supersede, recovery._without_successor

        def superseded(job: str):
            found = supersede(job)
            self.superseded += found is not None and not found.attended
            return found

        def called_off(case: Case):
            self.superseded += bool(case.successor)
            return without_successor(case)

        recovery._supersede, recovery._without_successor = superseded, called_off

    def do(self, effects: Effects) -> None:
        self.sound = False
        for change in effects.changes:
            self.told[change.event] += 1
            self.ever_ready |= change.event == log_events.WORKER_READY
            if change.event == log_events.WORKER_EXITED:
                self.exits[change.worker] += 1
        for action in effects.actions:
            self.act(action)

    def act(self, action: object) -> None:
        match action:
            case Spawn(ref=ref):
                self.spawn(ref)
            case Withdraw(ref=ref):
                self.withdraw(ref)
            case Terminate(ref=ref):
                assert ref in self.alive, "no signal to what is not alive"
                assert ref not in self.termed, "a second SIGTERM ends all calls of a LiveKit worker"
                self.termed.add(ref)
                self.is_relieved(ref)
            case Kill(ref=ref):
                assert ref in self.alive, "no signal to what is not alive"
                self.killed.add(ref)
            case DumpStacks(ref=ref):
                assert ref in self.alive, "no signal to what is not alive"
            case LookAtJob(ref=ref) | KillJob(ref=ref):
                assert ref in self.alive, "no look at what is not alive"
                assert ref not in self.killed, "all of it is ended anyway"
                self.looks.append(action)
            case GiveUp():
                assert not self.ever_ready, "a pool that ever ran never ends because of its workers"
                self.do(self.pool.give_up(self.now))
            case Recover(call=call):
                self.attempts.append(call.job)

    def spawn(self, ref: Ref) -> None:
        again = ref in self.tried
        assert again or ref.generation > self.generations.get(ref.slot, 0), "a generation is never used again"
        assert not self.pool.stopping
        self.tried.discard(ref)
        self.generations[ref.slot] = max(ref.generation, self.generations.get(ref.slot, 0))
        self.starting.append(ref)
        if not self.slow:
            self.started(ref)

    def withdraw(self, ref: Ref) -> None:
        """Of those that were asked for and do not run yet, half can still be called off."""
        assert ref not in self.alive, "whatever runs gets a signal"
        if ref not in self.starting or sum(self.generations.values()) % 2:
            self.starting = [each for each in self.starting if each != ref]
            self.tried.discard(ref)
            self.dead.append(ref)
            self.do(self.pool.exited(ref, Exit(code=0), self.now))

    def started(self, ref: Ref) -> None:
        """What came of a spawn."""
        self.starting.remove(ref)
        if self.short:
            self.short -= 1
            self.tried.add(ref)
            self.do(self.pool.ran_short(ref, "Cannot allocate memory", self.now))
            if ref not in self.pool.workers:
                self.tried.discard(ref)
                self.dead.append(ref)
            return
        if self.refuse:
            self.refuse -= 1
            self.dead.append(ref)
            self.do(self.pool.spawn_failed(ref, "no such file", self.now, 0.9))
            return
        self.pids += 1
        self.alive[ref] = self.pids
        self.do(self.pool.spawned(ref, self.pids, self.now, (self.pids % 11) / 10))

    def is_relieved(self, ref: Ref) -> None:
        """By our own choice no slot loses its serving worker: a soft reason waits for a replacement that is ready."""
        slot = self.pool.slots.get(ref.slot)
        if self.pool.stopping or slot is None or slot.emptied or slot.surplus or self.pool.workers[ref].leftover:
            return
        if self.pool.workers[ref].ready_at is None:
            return
        assert any(worker.serving for other, worker in self.pool.workers.items() if other.slot == ref.slot)

    @property
    def waiting(self) -> list[Ref]:
        return self.pool.shortage.waiting

    def one(self, number: int) -> Ref:
        return sorted(self.alive)[number % len(self.alive)]

    def end(self, ref: Ref, how: Exit) -> None:
        del self.alive[ref]
        self.killed.discard(ref)
        self.dead.append(ref)
        self.do(self.pool.exited(ref, how, self.now))

    def leaving(self) -> dict[Ref, Verdict]:
        """Who serves only until a replacement is ready, and why."""
        young = {ref: worker for ref, worker in self.pool.workers.items() if worker.phase in YOUNG}
        return {ref: worker.leaving for ref, worker in young.items() if worker.leaving is not None}
