"""What the pool knows of its workers, and what it has decided and not handed out yet. All that decide share it."""

from __future__ import annotations

from mindbot_supervisor.core.actions import Action
from mindbot_supervisor.core.calls.call_outcomes import CallCounts
from mindbot_supervisor.core.calls.claims import Claims
from mindbot_supervisor.core.calls.recovery import Moves, Recovery
from mindbot_supervisor.core.health.circuit_breaker import Brake
from mindbot_supervisor.core.health.event_rates import EventRates
from mindbot_supervisor.core.health.history import History, Observation
from mindbot_supervisor.core.health.host_pressure import Pressure
from mindbot_supervisor.core.policy import START_STAGGER, Policy
from mindbot_supervisor.core.rollout.rolling_update import Rollout
from mindbot_supervisor.core.workers.first_start import Boot
from mindbot_supervisor.core.workers.lifecycle import step
from mindbot_supervisor.core.workers.lifecycle_events import Happening
from mindbot_supervisor.core.workers.model import Change, Phase, Reason, Ref, Worker
from mindbot_supervisor.core.workers.names import Names
from mindbot_supervisor.core.workers.shortage import Shortage
from mindbot_supervisor.core.workers.slots import Slot
from mindbot_worker.protocol.heartbeat import Call


class State:
    """The facts and the outbox. From outside it is only read."""

    def __init__(self, policy: Policy, now: float) -> None:
        self.policy = policy
        self.workers: dict[Ref, Worker] = {}
        self.histories: dict[Ref, History] = {}
        self.slots = {index: Slot(index) for index in range(policy.pool.workers)}
        self.generations: dict[int, int] = {}
        """The last generation of each slot that was scaled away."""
        self.counts = CallCounts()
        self.names, self.rates = Names(), EventRates()
        self.claims = Claims()
        self.restarts: dict[Reason, int] = {}
        self.recovery: Recovery | None = None
        self.rollout: Rollout | None = None
        self.brake = Brake()
        self.pressure = Pressure()
        self.boot = Boot()
        self.shortage = Shortage()
        self.stopping = False
        self.last_tick = now
        self.upgraded = False
        """The next tick is the first one after an upgrade, which took as long as it is late."""
        self.last_start = -START_STAGGER
        self.answered_since: float | None = None
        """Since when LiveKit has known at least one worker all the time."""
        self.warned: set[tuple[Ref, Reason]] = set()
        self.hurried: set[Ref] = set()
        """Whose calls are moved as soon as they have a replacement."""
        self.reseat = True
        """A seat may have become free, or a worker may be let go: to be looked at before the effects are handed out."""
        self.actions: list[Action] = []
        self.changes: list[Change] = []

    # -- what is asked of it -------------------------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        return sum(worker.phase is Phase.READY for worker in self.workers.values())

    @property
    def active_calls(self) -> int:
        """A call that has been passed on, and whose old agent still leaves, is one call. One without a room is none."""
        return sum(
            call.job not in history.rooms.since and (self.recovery is None or not self.recovery.passed_on(call.job))
            for ref, history in self.histories.items()
            for call in self.settled(ref)
        )

    def calls_of(self, ref: Ref) -> int:
        """The calls that it lists: each takes a job process, whoever is in it."""
        return len(self.histories[ref].calls())

    def settled(self, ref: Ref) -> tuple[Call, ...]:
        """The calls that it lists, and no other living worker has."""
        return tuple(call for call in self.histories[ref].calls() if not self.claims.is_contested(ref, call.job))

    def rooms(self) -> list[str]:
        """The rooms of all live calls."""
        return list({call.room: None for history in self.histories.values() for call in history.calls()})

    def people_on(self, ref: Ref) -> int:
        """The calls that must be waited for: those with somebody in them."""
        return self.histories[ref].attended()

    def in_slot(self, index: int) -> list[Worker]:
        return [worker for ref, worker in self.workers.items() if ref.slot == index]

    def relieved(self, worker: Worker) -> bool:
        """Its replacement is ready."""
        return any(
            other.serving and other.leaving is None and other.ref.generation > worker.ref.generation
            for other in self.in_slot(worker.ref.slot)
        )

    def observe(self, now: float) -> dict[Ref, Observation]:
        """What the rules look at, for every worker."""
        answered = any(history.beat and history.beat.registered for history in self.histories.values())
        self.answered_since = (now if self.answered_since is None else self.answered_since) if answered else None
        return {
            ref: self.histories[ref].observe(worker, self.policy, now, self.answered_since)
            for ref, worker in self.workers.items()
        }

    # -- what changes it -----------------------------------------------------------------------------------------------

    def step(self, worker: Worker, event: Happening, now: float) -> None:
        """Let an event happen to a worker, and keep what comes of it."""
        taken = step(worker, event, now, self.policy)
        if taken.worker is worker and not taken.actions:
            return
        if taken.worker.phase is not worker.phase or taken.worker.leaving is not worker.leaving:
            self.reseat = True
        if taken.worker.phase is Phase.READY:
            self.boot.succeeded()
            self.shortage.ready(worker.ref)
        self.workers[worker.ref] = taken.worker
        self.actions += taken.actions
        self.changes += taken.changes

    def make(self, moves: Moves) -> None:
        """What was decided about calls."""
        for move in moves:
            self.changes.append(move) if isinstance(move, Change) else self.actions.append(move)

    def tell(self, event: str, now: float, worker: Worker, level: str = "info", **fields: object) -> None:
        self.changes.append(Change(event, now, worker.ref, worker.pid, level, fields))
