"""Values for tests of the core: a policy, a worker, a beat; everything else by `replace`."""

from __future__ import annotations

from typing import Any

from mindbot_config.sections.limits import Limits
from mindbot_config.sections.pool import Pool
from mindbot_config.sections.restart import Restart
from mindbot_supervisor.core.actions import Action, Spawn
from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.pool import Effects
from mindbot_supervisor.core.pool import Pool as WorkerPool
from mindbot_supervisor.core.workers.model import Change, Phase, Ref, Worker
from mindbot_worker.protocol.heartbeat import Beat, Call

HOST_MB = 10_000.0


def policy(*, beats_required: bool = True, ready_after: float = 1.0, **sections: dict[str, Any]) -> Policy:
    return Policy.of(
        Pool(**{"workers": 3, "drain_timeout": 100.0, **sections.get("pool", {})}),
        Limits(**sections.get("limits", {})),
        Restart(**sections.get("restart", {})),
        host_mb=HOST_MB,
        cores=8,
        beats_required=beats_required,
        ready_after=ready_after,
    )


def worker(phase: Phase = Phase.READY, **fields: Any) -> Worker:
    ready_at = None if phase is Phase.STARTING else 1.0
    return Worker(**{"ref": Ref(0, 1), "spawned_at": 0.0, "pid": 100, "phase": phase, "ready_at": ready_at, **fields})


def seen(**fields: Any) -> Observation:
    healthy: dict[str, Any] = {
        "phase": Phase.READY,
        "roll": 0.5,
        "age": 100.0,
        "beaten": True,
        "silence": 0.0,
        "thread_silence": None,
        "unregistered_for": 0.0,
        "rejected": 0,
        "errors": 0,
        "errors_by": {},
        "calls": (),
        "sample": None,
        "cpu_over_for": 0.0,
        "jobs_started": 0,
        "jobs_storm": 0,
        "leak": None,
    }
    return Observation(**{**healthy, **fields})


def call(number: int = 1, **fields: Any) -> Call:
    return Call(**{"room": f"r{number}", "job": f"AJ_{number}", **fields})


def beat(seq: int, state: str = "ready", **fields: Any) -> Beat:
    return Beat(**{"seq": seq, "state": state, "registered": True, **fields})


class Driver:
    """Plays the shell for a pool: spawns what it asks for, and keeps all that it said."""

    def __init__(self, of: Policy | None = None) -> None:
        self.now = 0.0
        self.pool = WorkerPool(of or policy(), self.now)
        self.actions: list[Action] = []
        self.changes: list[Change] = []
        self._seq = 0
        self._pid = 1000

    def do(self, effects: Effects) -> Effects:
        self.actions += effects.actions
        self.changes += effects.changes
        for action in effects.actions:
            if isinstance(action, Spawn):
                self._pid += 1
                self.do(self.pool.spawned(action.ref, self._pid, self.now, 0.5))
        return effects

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.do(self.pool.tick(self.now))

    def run(self, seconds: float, step: float = 1.0, silent: tuple[Ref, ...] = (), **fields: Any) -> None:
        """Let time pass with every worker beating, but the silent ones."""
        for _ in range(round(seconds / step)):
            self.now += step
            for ref in [ref for ref in self.pool.workers if ref not in silent]:
                self.beat(ref, **fields)
            self.tick()

    def beat(self, ref: Ref, state: str | None = None, **fields: Any) -> None:
        self._seq += 1
        worker = self.pool.workers.get(ref)
        if state is None:
            state = "draining" if worker is not None and worker.phase is Phase.DRAINING else "ready"
        self.do(self.pool.beat(ref, beat(self._seq, state, **fields), self.now))

    def fill(self) -> None:
        """Everybody started and ready."""
        self.tick()
        self.run(3)

    def told(self, event: str, ref: Ref | None = None) -> list[Change]:
        return [change for change in self.changes if change.event == event and ref in (None, change.worker)]

    def did(self, kind: type[Action], ref: Ref | None = None) -> list[Action]:
        return [
            action
            for action in self.actions
            if isinstance(action, kind) and ref in (None, getattr(action, "ref", None))
        ]
