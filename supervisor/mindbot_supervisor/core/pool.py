"""The pool: takes facts, returns actions and changes. The one mutable thing of the core, and it does no I/O.

Whoever drives it calls one method for each fact, with the time, and carries out the effects that come back. What
follows from a fact is decided beside this file: `verdicts` (the rules at a tick), `seats` (who is started and let go),
`live_calls`, `rolling`, `requests` (what operators ask) and `leftovers`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from mindbot_supervisor.core import log_events, operator_requests
from mindbot_supervisor.core.actions import Action, GiveUp, Kill
from mindbot_supervisor.core.calls import empty_calls, evidence, stalled_calls, tracking
from mindbot_supervisor.core.calls.call_liveness import Found
from mindbot_supervisor.core.calls.evidence import ListedJob
from mindbot_supervisor.core.calls.recovery import Recovery
from mindbot_supervisor.core.calls.recovery_state import Alone, Answer, Contested, Open, Recovered, Terms
from mindbot_supervisor.core.health import exit_cause, host_stall, restart_decisions
from mindbot_supervisor.core.health.host_pressure import Host
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.pool_state import State
from mindbot_supervisor.core.workers import first_start, leftover_workers, slot_filling
from mindbot_supervisor.core.workers.first_start import CONFIG_ERROR
from mindbot_supervisor.core.workers.lifecycle_events import Began, Said
from mindbot_supervisor.core.workers.model import Change, Death, Exit, Phase, Reason, Ref, Sample, Worker
from mindbot_worker.protocol.heartbeat import Beat, Failure


@dataclass(frozen=True, slots=True)
class Effects:
    """What to do and what to tell, in this order."""

    actions: tuple[Action, ...] = ()
    changes: tuple[Change, ...] = ()


class Pool(State):
    """All workers of the daemon. Read `workers`, `histories`, `slots` and the counters; change nothing from outside."""

    # -- facts ---------------------------------------------------------------------------------------------------------

    def spawned(self, ref: Ref, pid: int, now: float, roll: float) -> Effects:
        """A worker runs. `roll` is the shell's one random draw for it, 0 to 1."""
        worker = self.workers.get(ref)
        if worker is None:
            return Effects((Kill(ref),))
        self.step(worker, Began(pid, roll), now)
        replaces = self.slots[ref.slot].last_exit
        reason = {"reason": replaces.reason.value} if replaces is not None and replaces.reason is not None else {}
        self.tell(log_events.WORKER_SPAWNED, now, self.workers[ref], **reason)
        self.shortage.started(ref)
        self.reseat = self.reseat or bool(self.shortage.waiting)
        return self._effects(now)

    def spawn_failed(self, ref: Ref, why: str, now: float, roll: float) -> Effects:
        """The kernel refused to start it."""
        worker = self.workers.pop(ref, None)
        self.histories.pop(ref, None)
        if worker is not None:
            self.tell(log_events.WORKER_EXITED, now, worker, "error", verdict=Death.CRASHED.value, detail=why)
            if worker.leaving is None:
                slot_filling.fail(self, replace(worker, roll=roll), now)
            self._forget(ref, now)
        return self._effects(now)

    def ran_short(self, ref: Ref, why: str, now: float) -> Effects:
        """The host has nothing left to start it with, which is no fault of the worker or of its slot."""
        worker = self.workers.get(ref)
        if worker is None or worker.phase in (Phase.DRAINING, Phase.KILLING):
            return self.exited(ref, Exit(code=0), now)
        self.shortage.hold(ref)
        self._note_shortage(why, now, at_start=False)
        return self._effects(now)

    def _note_shortage(self, why: str, now: float, *, at_start: bool) -> None:
        change = self.shortage.came(why, now, at_start=at_start)
        if change is not None:
            self.changes.append(change)

    def beat(self, ref: Ref, beat: Beat, now: float, stopped: frozenset[str] = frozenset()) -> Effects:
        """A heartbeat came in. `stopped`: jobs that do not beat, and whose processes the kernel has stopped."""
        worker, history = self.workers.get(ref), self.histories.get(ref)
        if worker is None or history is None:
            return Effects()
        before = tracking.Before(self.settled(ref), frozenset(history.rooms.since), stalled_calls.killed_jobs(history))
        if not history.hear(beat, now):
            return Effects()
        if before.calls or beat.calls:
            tracking.follow(self, before, worker, now)
            stalled_calls.stopped(self, ref, stopped)
        self.step(worker, Said(beat.state, beat.registered, beat.problem, len(beat.calls)), now)
        return self._effects(now)

    def job_looked(self, ref: Ref, job: str, found: Found, now: float) -> Effects:
        """What was found of a job process that does not beat."""
        stalled_calls.looked(self, ref, job, found, now)
        return self._effects(now)

    def job_killed(self, ref: Ref, job: str, found: Found, now: float) -> Effects:
        """A job process that was to be killed was, or not, if it is none of this worker's."""
        if not empty_calls.killed(self, ref, job, found, now):
            stalled_calls.killed(self, ref, job, found, now)
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
            self.tell(log_events.BEAT_REJECTED, now, worker, "warning", **fields, limit=limit)
        return self._effects(now)

    def beats_dropped(self, ref: Ref, count: int, now: float) -> Effects:
        """So many lines of the heartbeat pipe were not even read: the worker sends too many."""
        worker, history = self.workers.get(ref), self.histories.get(ref)
        if worker is None or history is None:
            return Effects()
        if history.drop(count, now):
            detail = "it sends more heartbeats than are read: of those in between only the newest counts"
            self.tell(log_events.BEAT_DROPPED, now, worker, "warning", value=history.dropped_total, detail=detail)
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
        worker, history = self.workers.get(ref), self.histories.get(ref)
        if worker is None or history is None:
            return Effects()
        calls = self.settled(ref)
        del self.workers[ref], self.histories[ref]
        last = exit_cause.describe(worker, ended, now, len(calls))
        self.slots[ref.slot] = replace(self.slots[ref.slot], last_exit=last)
        level = "info" if last.verdict is Death.ASKED else "error"
        failure = history.beat.failure if history.beat is not None else None
        self.tell(
            log_events.WORKER_EXITED, now, worker, level, **exit_cause.fields(last, worker, failure, ended.detail)
        )
        tracking.worker_gone(self, worker, last.verdict, calls, now, gone=history.rooms.since)
        self._forget(ref, now)
        if last.verdict is not Death.ASKED and worker.leaving is None and not self.stopping:
            self._fell(worker, ended, failure, now)
        self.reseat = True
        return self._effects(now)

    def _fell(self, worker: Worker, ended: Exit, failure: Failure | None, now: float) -> None:
        """It left by itself, unasked: a failure of its slot, except where the host had nothing left for it to start."""
        short = first_start.ran_short(ended, failure) if worker.ready_at is None else ""
        if short:
            self._note_shortage(short, now, at_start=True)
            return
        self._note_boot(worker, ended, failure)
        slot_filling.fail(self, worker, now)

    def agent_failed(self, why: str, now: float) -> Effects:
        """The agent of all workers cannot be used, by the template's word: at the first start that is the end."""
        if self.boot.agent_failed() and not self.stopping:
            self.actions.append(GiveUp(CONFIG_ERROR, why))
        return self._effects(now)

    def _forget(self, ref: Ref, now: float) -> None:
        """Nothing is kept of a worker that is gone."""
        self.shortage.gone(ref, now)
        self.warned = {warned for warned in self.warned if warned[0] != ref}
        self.hurried.discard(ref)
        self.claims.forget(ref)
        self.pressure.forget(ref)
        slot_filling.forget_surplus(self, ref.slot)

    def _note_boot(self, worker: Worker, ended: Exit, failure: Failure | None) -> None:
        message = self.boot.exited(worker.ref.slot, ended, failure)
        if message is not None and self.boot.hopeless(len(self.slots)):
            self.actions.append(GiveUp(CONFIG_ERROR, message))

    def answered(self, job: str, answer: Answer, now: float) -> Effects:
        """What came of an attempt to bring a new agent to the caller of this job."""
        if self.recovery is not None:
            self.make(self.recovery.answered(job, answer, now))
            self.reseat = True
            tracking.end_moved(self, now)
            if isinstance(answer, Recovered | Alone | Contested):  # one that failed is tried again at the next tick
                tracking.move_next(self, now)
        return self._effects(now)

    def rooms_listed(self, asked: Collection[str], listed: Collection[str], now: float) -> Effects:
        """LiveKit was asked for these rooms, and has listed those of them that exist."""
        empty_calls.livekit_lists(self, asked, listed, now)
        return self._effects(now)

    def speaks_against(self, job: str, listed: Sequence[ListedJob]) -> str:
        """Why nothing may be done about the agent of this job, by what LiveKit lists for its room; else empty."""
        return evidence.against(self, job, listed)

    def left_alone(self, job: str, since: float) -> Effects:
        """The agent of a call that is moved is out of the room, and its successor may go in."""
        if self.recovery is not None:
            self.recovery.left_alone(job, since)
        return Effects()

    def tick(self, now: float) -> Effects:
        """Time has passed: check every rule and every deadline."""
        gap = now - self.last_tick - self.policy.limits.check_interval
        self.pressure.ticked(gap, now, self.policy)
        host_stall.follow(self, gap, now)
        self.last_tick = now
        restart_decisions.act(self, now)
        stalled_calls.act(self, now)
        for ref in list(self.workers):
            restart_decisions.pass_time(self, self.workers[ref], now)
        if self.recovery is not None:
            self.make(self.recovery.tick(now))
        self.changes += self.rates.report(now)
        self.reseat = True
        return self._effects(now)

    def adopt(self, ref: Ref, pid: int, now: float, *, termed: bool) -> Effects:
        """A worker of a dead daemon lives on: it takes no new calls, and ends with its last one or at its deadline.

        `termed`: it had its SIGTERM already. Ours know from their leash; another program has to be told.
        """
        leftover_workers.adopt(self, ref, pid, now, termed=termed)
        return self._effects(now)

    def remember(self, ref: Ref) -> None:
        """This name was used before: it never is again."""
        leftover_workers.remember(self, ref)

    def resumed(self, recovery: Open | None, now: float) -> None:
        """It was given the state of another pool: the settings are known to work, and every seat is looked at."""
        self.boot.succeeded()
        self.reseat = True
        if self.recovery is not None:
            self.make(self.recovery.resume(recovery or Open(), self.counts, now))
        for ref, history in self.histories.items():
            tracking.claim(self, ref, history.calls())

    # -- what operators ask --------------------------------------------------------------------------------------------

    def restart(
        self, indexes: Iterable[int], now: float, reason: Reason = Reason.OPERATOR, *, hurry: bool = False
    ) -> Effects:
        """Replace the workers of these slots one after the other; fill those that are empty, parked or waiting.

        In a `hurry` their calls are moved as soon as the replacements are ready.
        """
        operator_requests.restart(self, indexes, now, reason, hurry=hurry)
        return self._effects(now)

    def drain(self, indexes: Iterable[int], now: float, by: str = "") -> Effects:
        """Let the workers of these slots finish, and leave their seats empty until a restart fills them. `by`: who
        asked for it, where that is known.
        """
        operator_requests.drain(self, indexes, now, by)
        return self._effects(now)

    def scale(self, workers: int, now: float) -> Effects:
        """Have so many workers: new seats are filled, surplus ones drained, those with the fewest calls first."""
        operator_requests.scale(self, workers, now)
        return self._effects(now)

    def hold(self, held: bool, now: float) -> Effects:
        """Allow automatic soft restarts, or do not."""
        operator_requests.hold(self, held, now)
        return self._effects(now)

    def stop(self, now: float) -> Effects:
        """End the pool: every worker finishes its calls, none is replaced."""
        operator_requests.stop(self, now)
        return self._effects(now)

    def stop_now(self, now: float) -> Effects:
        """End the pool at once, live calls or not."""
        operator_requests.stop_now(self, now)
        return self._effects(now)

    def give_up(self, now: float) -> Effects:
        """End the pool because none of its workers can ever start. Those of a daemon before it finish their calls."""
        operator_requests.stop_now(self, now, spare_leftovers=True)
        return self._effects(now)

    def follow(self, policy: Policy) -> None:
        """Decide by new settings from now on."""
        self.policy = policy

    def recover_by(self, terms: Terms | None) -> None:
        """Recover calls on these terms from now on, or do not."""
        if terms is None or self.recovery is None:
            self.recovery = None if terms is None else Recovery(terms, self.counts)
        else:
            self.recovery.terms = terms

    # -- what is asked of it -------------------------------------------------------------------------------------------

    def has_successor(self, job: str) -> bool:
        """Whether a worker here has started the job that continues this call."""
        return self.recovery is not None and self.recovery.has_successor(job)

    def wake_at(self) -> float | None:
        """The next moment at which something is due by itself, apart from the regular tick."""
        due = [worker.deadline for worker in self.workers.values() if worker.phase is Phase.KILLING]
        due += [slot_filling.next_due(self), self.recovery.wake_at() if self.recovery is not None else None]
        due.append(None if self.stopping else self.shortage.wake_at())
        return min((at for at in due if at is not None), default=None)

    def _effects(self, now: float) -> Effects:
        slot_filling.settle(self, now)
        effects = Effects(tuple(self.actions), self.rates.admit(self.changes))
        self.actions.clear()
        self.changes.clear()
        return effects
