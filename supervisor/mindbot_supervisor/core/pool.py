"""The pool: takes facts, returns actions and changes. The one mutable thing of the core, and it does no I/O.

Whoever drives it calls one method for each fact, with the time, and carries out the effects that come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from mindbot_worker.wire import KILLED, Beat, Call, Failure

from . import brake, death, events, migration, slots
from .actions import Action, GiveUp, Kill, Spawn, Terminate
from .admission import admit
from .boot import CONFIG_ERROR, Boot
from .calls import CallCounts, killed, lost, started_and_ended
from .history import History, Observation
from .lifecycle import Event, Judged, Kept, Moved, Passed, Relieved, Said, step
from .model import Change, Death, Exit, Phase, Reason, Ref, Sample, Urgency, Verdict, Worker
from .policy import START_STAGGER, Policy
from .pressure import Host, Pressure
from .recovery import Answer, Moves, Recovery, Terms
from .rollout import Rollout
from .rules import judge

BY_OPERATOR = frozenset({Reason.OPERATOR, Reason.CONFIG, Reason.ENV, Reason.SCALE, Reason.STOP})
NOT_A_FAILURE = BY_OPERATOR | {Reason.LIFETIME, Reason.LEFT, Reason.DRAIN_TIMEOUT, Reason.PRESSURE}
"""Reasons to leave that say nothing against the slot."""
LATE_TICK = 2.0
"""A tick later than this many seconds beyond its interval: the supervisor itself was not running."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What to do and what to tell, in this order."""

    actions: tuple[Action, ...] = ()
    changes: tuple[Change, ...] = ()


class Pool:
    """All workers of the daemon. Read `workers`, `histories`, `slots` and the counters; change nothing from outside."""

    def __init__(self, policy: Policy, now: float) -> None:
        self.policy = policy
        self.workers: dict[Ref, Worker] = {}
        self.histories: dict[Ref, History] = {}
        self.slots = {index: slots.Slot(index) for index in range(policy.pool.workers)}
        self.counts = CallCounts()
        self.recovery: Recovery | None = None
        self.restarts: dict[Reason, int] = {}
        self.brake = brake.Brake()
        self.pressure = Pressure()
        self.stopping = False
        self.rollout: Rollout | None = None
        self.generations: dict[int, int] = {}
        self._last_tick = now
        self._last_start = -START_STAGGER
        self._boot = Boot()
        self._warned: set[tuple[Ref, Reason]] = set()
        self._hurried: set[Ref] = set()
        self._reseat = True
        self._actions: list[Action] = []
        self._changes: list[Change] = []

    # -- facts ---------------------------------------------------------------------------------------------------------

    def spawned(self, ref: Ref, pid: int, now: float, roll: float) -> Effects:
        """A worker runs. `roll` is the shell's one random draw for it, 0 to 1."""
        worker = self.workers.get(ref)
        if worker is None or ref.slot not in self.slots:
            return Effects((Kill(ref),))
        self.workers[ref] = replace(worker, pid=pid, roll=roll)
        replaces = self.slots[ref.slot].last_exit
        reason = {"reason": replaces.reason.value} if replaces is not None and replaces.reason is not None else {}
        self._tell(events.WORKER_SPAWNED, now, self.workers[ref], **reason)
        return self._effects(now)

    def spawn_failed(self, ref: Ref, why: str, now: float, roll: float) -> Effects:
        """The kernel refused to start it."""
        worker = self.workers.pop(ref, None)
        self.histories.pop(ref, None)
        if worker is not None:
            self._tell(events.WORKER_EXITED, now, worker, "error", verdict=Death.CRASHED.value, detail=why)
            self._fail(replace(worker, roll=roll), now)
        return self._effects(now)

    def beat(self, ref: Ref, beat: Beat, now: float) -> Effects:
        """A heartbeat came in."""
        worker, history = self.workers.get(ref), self.histories.get(ref)
        if worker is None or history is None:
            return Effects()
        before = history.calls()
        if not history.hear(beat, now):
            return Effects()
        if before or beat.calls:
            self._follow_calls(before, beat, worker, now)
        self._step(worker, Said(beat.state, beat.registered, beat.problem, len(beat.calls)), now)
        return self._effects(now)

    def beat_rejected(self, ref: Ref, why: str, now: float) -> Effects:
        """A line on the heartbeat pipe was no heartbeat. It is counted and changes nothing else."""
        worker, history = self.workers.get(ref), self.histories.get(ref)
        if worker is None or history is None:
            return Effects()
        history.reject()
        limit = self.policy.limits.beats_rejected_max
        if history.rejected <= 3 or history.rejected % limit == 0:  # a flood of garbage must not become one of lines
            fields: dict[str, object] = {"detail": why, "value": history.rejected, "total": history.rejected_total}
            self._tell(events.BEAT_REJECTED, now, worker, "warning", **fields, limit=limit)
        return self._effects(now)

    def sample(self, ref: Ref, sample: Sample, now: float) -> Effects:
        """The sampler looked at the worker's tree."""
        history = self.histories.get(ref)
        if history is not None:
            history.take(sample, now, self.policy.limits.cpu_percent)
            self.pressure.sampled(self.workers[ref], sample)
        return Effects()

    def host(self, host: Host, now: float) -> Effects:
        """The sampler looked at the host."""
        self.pressure.take(host, now)
        return Effects()

    def exited(self, ref: Ref, ended: Exit, now: float) -> Effects:
        """The worker's process is gone."""
        worker, history = self.workers.pop(ref, None), self.histories.pop(ref, None)
        if worker is None or history is None:
            return Effects()
        calls = history.calls()
        last = death.describe(worker, ended, now, len(calls))
        self.slots[ref.slot] = replace(self.slots[ref.slot], last_exit=last)
        level = "info" if last.verdict is Death.ASKED else "error"
        failure = history.beat.failure if history.beat is not None else None
        self._tell(events.WORKER_EXITED, now, worker, level, **death.fields(last, worker, failure, ended.detail))
        self._count_lost(worker, last.verdict, calls, now)
        if last.verdict is not Death.ASKED and worker.leaving is None and not self.stopping:
            self._note_boot(worker, ended, failure)
            self._fail(worker, now)
        self._warned = {warned for warned in self._warned if warned[0] != ref}
        self._hurried.discard(ref)
        self.pressure.forget(ref)
        self._forget_surplus(ref.slot)
        self._reseat = True
        return self._effects(now)

    def answered(self, job: str, answer: Answer, now: float) -> Effects:
        """What came of an attempt to bring a new agent to the caller of this job."""
        if self.recovery is not None:
            self._make(self.recovery.answered(job, answer, now))
            self._end_moved(now)
        return self._effects(now)

    def tick(self, now: float) -> Effects:
        """Time has passed: check every rule and every deadline."""
        gap = now - self._last_tick - self.policy.limits.check_interval
        self.pressure.ticked(gap, now, self.policy)
        if gap > LATE_TICK:
            for history in self.histories.values():
                history.forgive(gap)
        self._last_tick = now
        verdicts = self._judge_all(now)
        self._follow_brake(verdicts, now)
        for ref, verdict in verdicts.items():
            self._act_on(ref, verdict, now)
        for ref in list(self.workers):
            self._pass_time(self.workers[ref], now)
        if self.recovery is not None:
            self._make(self.recovery.tick(now))
        self._reseat = True
        return self._effects(now)

    def stop(self, now: float) -> Effects:
        """End the pool: every worker finishes its calls, none is replaced."""
        self.stopping = True
        verdict = Verdict(Reason.STOP, Urgency.DRAIN)
        for ref in list(self.workers):
            worker = self.workers[ref]
            self._step(worker, Relieved(verdict, self._calls_of(ref)), now)
        return self._effects(now)

    def stop_now(self, now: float) -> Effects:
        """End the pool at once, live calls or not."""
        self.stopping = True
        verdict = Verdict(Reason.STOP, Urgency.KILL)
        for ref in list(self.workers):
            self._step(self.workers[ref], Judged(verdict, self._calls_of(ref)), now)
        if self.recovery is not None:
            self._make(self.recovery.stop(now))
        return self._effects(now)

    def adopt(self, ref: Ref, pid: int, now: float, *, termed: bool) -> Effects:
        """A worker of a dead daemon lives on: it takes no new calls, and ends with its last one or at its deadline.

        `termed`: it had its SIGTERM already. Ours know from their leash; another program has to be told.
        """
        verdict = Verdict(Reason.LEFTOVER, Urgency.DRAIN, detail="started by a daemon that is gone")
        deadline = now + self.policy.pool.drain_timeout
        worker = Worker(ref, now, pid=pid, phase=Phase.DRAINING, leaving=verdict, leftover=True, deadline=deadline)
        self.workers[ref], self.histories[ref] = replace(worker, termed=True), History(born=now)
        self.remember(ref)
        self._tell(events.WORKER_DRAINING, now, worker, reason=verdict.reason.value, detail=verdict.detail)
        if not termed:
            self._actions.append(Terminate(ref))
        return self._effects(now)

    def remember(self, ref: Ref) -> None:
        """This name was used before: it never is again."""
        slot = self.slots.get(ref.slot)
        if slot is None:
            self.generations[ref.slot] = max(self.generations.get(ref.slot, 0), ref.generation)
            if ref in self.workers:
                self.slots[ref.slot] = slots.Slot(ref.slot, self.generations[ref.slot], surplus=True)
        else:
            self.slots[ref.slot] = replace(slot, generation=max(slot.generation, ref.generation))

    # -- what operators ask --------------------------------------------------------------------------------------------

    def restart(
        self, indexes: Iterable[int], now: float, reason: Reason = Reason.OPERATOR, *, hurry: bool = False
    ) -> Effects:
        """Replace the workers of these slots one after the other; fill those that are empty, parked or waiting.

        In a `hurry` their calls are moved as soon as the replacements are ready.
        """
        asked = set(indexes)
        refs = {ref for ref, worker in self.workers.items() if ref.slot in asked and worker.seated}
        for index in asked - {ref.slot for ref in refs}:
            self.slots[index] = slots.wanted(self.slots[index])
        if self.rollout is not None and self.rollout.active:
            refs |= set(self.rollout.pending) | self.rollout.stop("")
        self._hurried |= refs if hurry else set()
        self.rollout = Rollout.of(reason, refs)
        self._changes.append(Change(events.ROLLOUT_STARTED, now, fields=self.rollout.fields()))
        self._reseat = True
        return self._effects(now)

    def drain(self, indexes: Iterable[int], now: float) -> Effects:
        """Let the workers of these slots finish, and leave their seats empty until a restart fills them."""
        for index in indexes:
            self.slots[index] = replace(self.slots[index], emptied=True)
            self._empty(index, Verdict(Reason.OPERATOR, Urgency.DRAIN), now)
        return self._effects(now)

    def scale(self, workers: int, now: float) -> Effects:
        """Have so many workers: new seats are filled, surplus ones drained, those with the fewest calls first."""
        kept = [index for index, slot in self.slots.items() if not slot.surplus]
        free = (index for index in range(len(self.slots) + workers) if index not in self.slots)
        for index in islice(free, max(workers - len(kept), 0)):
            self.slots[index] = slots.Slot(index, generation=self.generations.get(index, 0))
        by_calls = sorted(kept, key=lambda index: (sum(self._calls_of(w.ref) for w in self._in_slot(index)), -index))
        for index in by_calls[: max(len(kept) - workers, 0)]:
            self.slots[index] = replace(self.slots[index], surplus=True)
            self._empty(index, Verdict(Reason.SCALE, Urgency.DRAIN), now)
            self._forget_surplus(index)
        self._reseat = True
        return self._effects(now)

    def hold(self, held: bool, now: float) -> Effects:
        """Allow automatic soft restarts, or do not."""
        self.brake.by_operator = held
        self._follow_brake({}, now)
        return self._effects(now)

    def resumed(self) -> None:
        """It was given the state of another pool: the settings are known to work, and every seat is looked at."""
        self._boot.succeeded()
        self._reseat = True

    def follow(self, policy: Policy) -> None:
        """Decide by new settings from now on."""
        self.policy = policy

    def recover_by(self, terms: Terms | None) -> None:
        """Recover calls on these terms from now on, or do not."""
        if terms is None or self.recovery is None:
            self.recovery = None if terms is None else Recovery(terms, self.counts)
        else:
            self.recovery.terms = terms

    def _empty(self, index: int, verdict: Verdict, now: float) -> None:
        for worker in self._in_slot(index):
            self._step(worker, Relieved(verdict, self._calls_of(worker.ref)), now)

    def _forget_surplus(self, index: int) -> None:
        """A seat that was scaled away is gone with its last worker; its generations are never used again."""
        slot = self.slots.get(index)
        if slot is not None and slot.surplus and not self._in_slot(index):
            self.generations[index] = slot.generation
            del self.slots[index]

    def _roll(self, now: float) -> None:
        """Carry the rolling change on as far as the disruption budget allows."""
        rollout = self.rollout
        if rollout is None or not rollout.active or self.stopping:
            return
        young = (Phase.STARTING, Phase.READY)
        waiting = {ref for ref, worker in self.workers.items() if worker.phase in young and worker.leaving is not None}
        if rollout.settle(waiting):
            self._changes.append(Change(events.ROLLOUT_PROGRESS, now, fields=rollout.fields()))
        rollout.skip({ref for ref, worker in self.workers.items() if worker.seated})
        while rollout.pending and admit(self.workers.values(), self.policy):
            worker = self.workers[rollout.begin()]
            self._step(worker, Judged(Verdict(rollout.reason, Urgency.DRAIN), self._calls_of(worker.ref)), now)
        if not rollout.active:
            self._changes.append(Change(events.ROLLOUT_FINISHED, now, fields=rollout.fields()))

    def _stop_rollout(self, failed: Worker, now: float) -> None:
        """A replacement that never became ready ends the rollout: broken code must not empty the pool."""
        rollout = self.rollout
        if rollout is None or failed.ready_at is not None:
            return
        if not any(ref.slot == failed.ref.slot and ref < failed.ref for ref in rollout.under_way):
            return
        for ref in rollout.stop(f"the replacement {failed.ref} did not become ready; the others are kept as they are"):
            under_way = any(worker.seated for worker in self._in_slot(ref.slot))
            if ref in self.workers and not under_way:
                self._step(self.workers[ref], Kept(), now)
        self._changes.append(Change(events.ROLLOUT_STOPPED, now, level="error", fields=rollout.fields()))

    # -- what is asked of it -------------------------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        return sum(worker.phase is Phase.READY for worker in self.workers.values())

    @property
    def active_calls(self) -> int:
        return sum(len(history.calls()) for history in self.histories.values())

    def observe(self, now: float) -> dict[Ref, Observation]:
        """What the rules look at, for every worker."""
        registered = {ref for ref, history in self.histories.items() if history.beat and history.beat.registered}
        seen = {}
        for ref, worker in self.workers.items():
            siblings = bool(registered - {ref}) if len(registered) < 3 else True
            seen[ref] = self.histories[ref].observe(worker, self.policy, now, siblings_registered=siblings)
        return seen

    def has_successor(self, job: str) -> bool:
        """Whether a worker here has started the job that continues this call."""
        return self.recovery is not None and self.recovery.has_successor(job)

    def wake_at(self) -> float | None:
        """The next moment at which something is due by itself, apart from the regular tick."""
        taken = self.slots.keys() if self.stopping else self._taken()  # nobody waits for a seat that is not filled
        due = [
            slot.retry_at
            for index, slot in self.slots.items()
            if slot.retry_at is not None and index not in taken and slots.due(slot, slot.retry_at)
        ]
        due += [
            worker.deadline for worker in self.workers.values() if worker.phase is Phase.KILLING and worker.deadline
        ]
        if self.recovery is not None and (next_attempt := self.recovery.wake_at()) is not None:
            due.append(next_attempt)
        return min(due, default=None)

    # -- how it decides ------------------------------------------------------------------------------------------------

    def _judge_all(self, now: float) -> dict[Ref, Verdict]:
        seen = self.observe(now)
        excused = self.pressure.excused(seen, self.policy, now)
        verdicts: dict[Ref, Verdict] = {}
        for ref, each in seen.items():
            verdict = judge(replace(each, silence=0.0) if ref in excused else each, self.policy)
            if verdict is not None:
                verdicts[ref] = verdict
        relief = self.pressure.relief(self.workers, seen, now)
        if relief is not None:
            verdicts.setdefault(*relief)
        return verdicts

    def _follow_brake(self, verdicts: Mapping[Ref, Verdict], now: float) -> None:
        pairs = ((worker, self.histories[ref]) for ref, worker in self.workers.items())
        found = None if self.stopping else brake.find(pairs, verdicts.values(), now)
        if found is None and self.pressure.starving is not None:
            found = brake.Hold(Reason.HOST_STARVED, self.pressure.starving)
        change = self.brake.update(found, now)
        limits = self.policy.limits
        self.brake.excuse(verdicts, now, max(limits.error_window, limits.register_timeout))
        if change is not None:
            self._changes.append(change)

    def _act_on(self, ref: Ref, verdict: Verdict, now: float) -> None:
        worker = self.workers[ref]
        if verdict.urgency is Urgency.KILL:
            if worker.phase is not Phase.KILLING:
                self._step(worker, Judged(verdict, self._calls_of(ref), self._grace(ref, verdict)), now)
                self._fail(worker, now, verdict.reason)
            return
        self._warn_once(worker, verdict, now)
        if not worker.seated or self.stopping or not self.brake.blames(ref, verdict.reason, now):
            return
        if admit(self.workers.values(), self.policy):
            self._step(worker, Judged(verdict, self._calls_of(ref)), now)
            self._fail(worker, now, verdict.reason)

    def _warn_once(self, worker: Worker, verdict: Verdict, now: float) -> None:
        key = (worker.ref, verdict.reason)
        if key not in self._warned and worker.phase in (Phase.STARTING, Phase.READY):
            self._warned.add(key)
            fields = {"reason": verdict.reason.value, **verdict.fields()}
            self._tell(events.LIMIT_WARNED, now, worker, "warning", **fields)

    def _pass_time(self, worker: Worker, now: float) -> None:
        history = self.histories[worker.ref]
        silence = now - history.loop_at if history.loop_at is not None else 0.0
        if history.beat is None and not self.policy.beats_required:
            silence = 0.0
        passed = Passed(silence, self._relieved(worker), len(history.calls()))
        self._step(worker, passed, now)
        worker = self.workers[worker.ref]
        self._move_calls(worker, now)
        slot = self.slots.get(worker.ref.slot)
        stretch = now - worker.ready_at if worker.ready_at is not None else 0.0
        if slot and slot.streak and worker.seated and stretch >= self.policy.restart.healthy_after:
            self.slots[slot.index] = slots.healthy(slot)

    def _move_calls(self, worker: Worker, now: float) -> None:
        """Give its calls to others, as far as they have seats, if their end must not be waited for."""
        why = migration.reason(worker, now, hurried=worker.ref in self._hurried)
        if self.recovery is None or why is None:
            return
        calls = self._unmoved(worker.ref)[: self._seats_beside(worker.ref)]
        self._make(self.recovery.move(calls, worker.ref, worker.pid, now, why.value))

    def _end_moved(self, now: float) -> None:
        """End the workers that only lived on until their calls were with others."""
        for ref, worker in list(self.workers.items()):
            waits = worker.phase is Phase.KILLING and migration.reason(worker, now, hurried=False) is not None
            if waits and self.recovery is not None and not self._unmoved(ref) and not self.recovery.moving(ref):
                self._step(worker, Moved(), now)

    def _unmoved(self, ref: Ref) -> list[Call]:
        left = self.recovery.left if self.recovery is not None else lambda _: False
        return [call for call in self.histories[ref].calls() if not left(call.job)]

    def _seats_beside(self, ref: Ref) -> int:
        """How many calls of this worker the others can take now; none without recovery."""
        if self.recovery is None or self.stopping:
            return 0
        others = ((worker, self._calls_of(each)) for each, worker in self.workers.items() if each != ref)
        return max(migration.seats(others, self.policy.pool.max_calls) - len(self.recovery.cases), 0)

    def _grace(self, ref: Ref, verdict: Verdict) -> float:
        """Seconds that a worker is spared for its calls to be moved."""
        movable = verdict.reason is Reason.MEMORY and self._unmoved(ref) and self._seats_beside(ref)
        return migration.MOVE_GRACE if movable else 0.0

    def _relieved(self, worker: Worker) -> bool:
        return any(
            other.serving and other.leaving is None and other.ref.generation > worker.ref.generation
            for other in self._in_slot(worker.ref.slot)
        )

    def _in_slot(self, index: int) -> list[Worker]:
        return [worker for ref, worker in self.workers.items() if ref.slot == index]

    def _calls_of(self, ref: Ref) -> int:
        return len(self.histories[ref].calls())

    def _step(self, worker: Worker, event: Event, now: float) -> None:
        taken = step(worker, event, now, self.policy)
        if taken.worker is worker and not taken.actions:
            return
        if taken.worker.phase is not worker.phase or taken.worker.leaving is not worker.leaving:
            self._reseat = True
        if taken.worker.phase is Phase.READY:
            self._boot.succeeded()
        self.workers[worker.ref] = taken.worker
        self._actions += taken.actions
        self._changes += taken.changes

    def _fail(self, worker: Worker, now: float, reason: Reason = Reason.CRASH) -> None:
        """Count a failure against the slot, when the worker leaves service and not when it exits."""
        slot = self.slots.get(worker.ref.slot)
        if slot is None or reason in NOT_A_FAILURE or self.stopping:
            return
        self._stop_rollout(worker, now)
        slot = self.slots[slot.index] = slots.failed(slot, now, worker.roll, self.policy.restart)
        self.restarts[reason] = self.restarts.get(reason, 0) + 1
        if slot.retry_at is None:
            return
        event = events.SLOT_PARKED if slot.parked else events.SLOT_BACKOFF
        fields = {"slot": slot.index, "retry_in": round(slot.retry_at - now, 3), "failures": slot.streak}
        level = "error" if slot.parked else "warning"
        self._changes.append(Change(event, now, level=level, fields={**fields, "reason": reason.value}))

    def _note_boot(self, worker: Worker, ended: Exit, failure: Failure | None) -> None:
        message = self._boot.exited(worker.ref.slot, ended, failure)
        if message is not None and self._boot.hopeless(len(self.slots)):
            self._actions.append(GiveUp(CONFIG_ERROR, message))

    def _follow_calls(self, before: tuple[Call, ...], beat: Beat, worker: Worker, now: float) -> None:
        """What became of its calls since its last beat; one whose agent was killed is given a new one."""
        recovery, pid = self.recovery, worker.pid
        if recovery is None:
            self._changes += started_and_ended(before, beat, worker.ref, pid, now, self.counts)
            return
        for call in [] if self.stopping else killed(before, beat):
            self._make(recovery.lost(call, worker.ref, pid, now, reason=KILLED))
        for change in started_and_ended(before, beat, worker.ref, pid, now, self.counts, recovery.left):
            self._changes.append(change)
            room, job = str(change.fields["room"]), str(change.fields["job"])
            if change.event == events.CALL_STARTED:
                recovery.started(room, job, worker.ref)
            elif change.event == events.CALL_ENDED:
                recovery.ended(room)

    def _make(self, moves: Moves) -> None:
        for move in moves:
            self._changes.append(move) if isinstance(move, Change) else self._actions.append(move)

    def _count_lost(self, worker: Worker, verdict: Death, calls: tuple[Call, ...], now: float) -> None:
        if self.recovery is not None:
            calls = tuple(call for call in calls if not self.recovery.left(call.job))
            if verdict is not Death.ASKED and not self.stopping:
                for call in calls:
                    ours = verdict is Death.KILLED
                    self._make(self.recovery.lost(call, worker.ref, worker.pid, now, reason=verdict.value, ours=ours))
                return
        if verdict is Death.KILLED:
            self.counts.cut_by_us += len(calls)
        elif verdict is not Death.ASKED:
            self.counts.lost += len(calls)
        else:
            self.counts.ended += len(calls)
        if verdict is not Death.ASKED:
            self._changes += lost(calls, worker.ref, worker.pid, now, verdict.value)

    # -- seats ---------------------------------------------------------------------------------------------------------

    def _effects(self, now: float) -> Effects:
        if self._reseat:
            self._reseat = False
            self._relieve(now)
            self._roll(now)
            if not self.stopping:
                self._fill(now)
        effects = Effects(tuple(self._actions), tuple(self._changes))
        self._actions.clear()
        self._changes.clear()
        return effects

    def _relieve(self, now: float) -> None:
        """Tell every leaving worker whose replacement is ready to finish."""
        for worker in list(self.workers.values()):
            soft = worker.leaving is not None and worker.phase in (Phase.STARTING, Phase.READY)
            if soft and worker.leaving is not None and self._relieved(worker):
                self._step(worker, Relieved(worker.leaving, self._calls_of(worker.ref)), now)

    def _fill(self, now: float) -> None:
        """Start a worker for every seat that is free and due."""
        taken = self._taken()
        starting = sum(worker.phase is Phase.STARTING for worker in self.workers.values())
        for index, slot in self.slots.items():
            if index in taken or not slots.due(slot, now):
                continue
            if slot.generation == 0 and self._staggered(starting, now):
                continue
            self._spawn(slot, now)
            starting += 1

    def _taken(self) -> set[int]:
        """Slots that want no worker now: they have one, or theirs says that it can never start."""
        return {worker.ref.slot for worker in self.workers.values() if worker.seated} | self._boot.unstartable

    def _staggered(self, starting: int, now: float) -> bool:
        """When the pool is filled, only so many start side by side; but a slow one holds the next up only so long."""
        return starting >= self.policy.max_starting and now - self._last_start < START_STAGGER

    def _spawn(self, slot: slots.Slot, now: float) -> None:
        if slot.parked:
            fields = {"slot": slot.index, "failures": slot.streak}
            self._changes.append(Change(events.SLOT_RETRIED, now, fields=fields))
        ref = slot.next_ref()
        self.slots[slot.index] = replace(slots.filled(slot), restarts=slot.restarts + (slot.generation > 0))
        self.workers[ref] = Worker(ref, spawned_at=now)
        self.histories[ref] = History(born=now)
        self._last_start = now
        self._actions.append(Spawn(ref))

    # -- telling -------------------------------------------------------------------------------------------------------

    def _tell(self, event: str, now: float, worker: Worker, level: str = "info", **fields: object) -> None:
        self._changes.append(Change(event, now, worker.ref, worker.pid, level, fields))
