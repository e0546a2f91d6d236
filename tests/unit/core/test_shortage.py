"""The host has nothing left to start workers with: nobody is blamed for it, and starting goes on as soon as it can."""

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Spawn, Withdraw
from mindbot_supervisor.core.pool import Effects
from mindbot_supervisor.core.workers.model import Exit, Phase, Ref
from mindbot_supervisor.core.workers.shortage import RETRY_FIRST, RETRY_MAX
from mindbot_worker.protocol.heartbeat import Failure

from .build import Driver, policy

A1, A2, B1, B2, C1 = Ref(0, 1), Ref(0, 2), Ref(1, 1), Ref(1, 2), Ref(2, 1)
WHY = "Too many open files"


class Host(Driver):
    """A shell that can start `room` more workers; None: as many as are wanted."""

    room: int | None = None

    def do(self, effects: Effects) -> Effects:
        self.actions += effects.actions
        self.changes += effects.changes
        for action in effects.actions:
            if not isinstance(action, Spawn):
                continue
            if self.room == 0:
                self.do(self.pool.ran_short(action.ref, WHY, self.now))
                continue
            self.room = None if self.room is None else self.room - 1
            self._pid += 1
            self.do(self.pool.spawned(action.ref, self._pid, self.now, 0.5))
        return effects

    def beat(self, ref: Ref, state: str | None = None, **fields) -> None:
        """Nothing is heard of what does not run."""
        if (worker := self.pool.workers.get(ref)) is not None and worker.pid is not None:
            super().beat(ref, state, **fields)

    def until_started(self, ref: Ref) -> None:
        for _ in range(300):
            self.tick(0.05)
            if (worker := self.pool.workers.get(ref)) is not None and worker.pid is not None:
                return
        raise AssertionError(f"{ref} was not started within 15 s")

    def attempts(self) -> int:
        return len(self.did(Spawn))


def nobody_is_blamed(host: Host) -> None:
    assert not host.told(log_events.SLOT_BACKOFF) and not host.told(log_events.SLOT_PARKED)
    assert all(slot.streak == 0 and slot.retry_at is None for slot in host.pool.slots.values())
    assert host.pool.restarts == {}


def host_with(room: int | None, **sections) -> Host:
    host = Host(policy(**sections))
    host.room = room
    return host


def test_it_is_told_once_and_no_slot_is_blamed():
    host = host_with(1)
    host.tick()
    host.run(600)
    (told,) = host.told(log_events.HOST_SHORTAGE)
    assert (told.level, told.fields["detail"]) == ("error", WHY)
    assert not host.told(log_events.HOST_SHORTAGE_OVER) and not host.told(log_events.WORKER_EXITED)
    assert [host.pool.workers[ref].pid is None for ref in (A1, B1, C1)] == [False, True, True]
    nobody_is_blamed(host)


def test_one_attempt_after_the_other_is_made_at_growing_intervals():
    host = host_with(0, pool={"workers": 1})
    host.tick()
    waits = []
    for _ in range(8):
        due, made = host.pool.wake_at(), host.attempts()
        waits.append(due - host.now)
        host.now = due - 0.01
        host.tick()
        assert host.attempts() == made
        host.tick(0.01)
        assert host.attempts() == made + 1
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, RETRY_MAX, RETRY_MAX]


def test_once_one_could_be_started_all_are_and_the_end_is_told_once():
    host = host_with(0)
    host.tick()
    host.room = None
    host.tick(RETRY_FIRST)
    assert all(worker.pid is not None for worker in host.pool.workers.values())
    assert host.attempts() == 3 + 3
    host.run(3)
    (told,) = host.told(log_events.HOST_SHORTAGE_OVER)
    assert told.fields["seconds"] >= RETRY_FIRST
    assert host.pool.ready == 3
    nobody_is_blamed(host)


def test_where_there_is_room_for_some_the_others_go_on_trying_and_nothing_more_is_told():
    host = host_with(0)
    host.tick()
    for expected in (1, 2):
        host.room = 1
        host.run(RETRY_MAX + 1)
        assert host.pool.ready == expected
    host.room = None
    host.run(RETRY_MAX + 3)
    assert host.pool.ready == 3
    assert (len(host.told(log_events.HOST_SHORTAGE)), len(host.told(log_events.HOST_SHORTAGE_OVER))) == (1, 1)


def test_a_shortage_that_comes_back_is_told_again():
    host = host_with(None)
    host.fill()
    for times in (1, 2):
        host.room = 0
        host.do(host.pool.exited(Ref(0, times), Exit(code=1), host.now))
        host.tick(1)
        host.room = None
        host.run(host.pool.policy.restart.healthy_after + 2)
        assert len(host.told(log_events.HOST_SHORTAGE)) == len(host.told(log_events.HOST_SHORTAGE_OVER)) == times


def test_the_end_of_a_worker_brings_the_next_attempt_forward():
    host = host_with(None)
    host.fill()
    host.room = 0
    host.do(host.pool.exited(A1, Exit(code=1), host.now))
    host.run(40)
    assert host.pool.wake_at() is not None
    host.room = None
    host.do(host.pool.exited(B1, Exit(code=1), host.now))
    assert host.pool.wake_at() <= host.now + RETRY_FIRST
    assert host.pool.workers[B2].pid is None, "who comes later stands behind who waits"
    host.tick(RETRY_FIRST)
    assert host.pool.workers[A2].pid is not None and host.pool.workers[B2].pid is not None


@pytest.mark.parametrize("ask", ["stop", "stop_now", "drain", "scale"])
def test_whoever_waits_can_be_called_off(ask):
    host = host_with(2)
    host.tick()
    waits = next(ref for ref in (A1, B1, C1) if host.pool.workers[ref].pid is None)
    pool = host.pool
    ways = {
        "stop": lambda: pool.stop(host.now),
        "stop_now": lambda: pool.stop_now(host.now),
        "drain": lambda: pool.drain([waits.slot], host.now),
        "scale": lambda: pool.scale(2, host.now),
    }
    effects = host.do(ways[ask]())
    assert Withdraw(waits) in effects.actions
    host.do(pool.exited(waits, Exit(code=0), host.now))
    (told,) = host.told(log_events.WORKER_EXITED, waits)
    assert told.fields["verdict"] == "asked"
    host.room, made = None, host.attempts()
    host.tick(RETRY_MAX)
    assert host.attempts() == made and waits not in pool.workers
    assert pool.wake_at() is None or pool.wake_at() > host.now


def test_one_that_was_called_off_while_it_was_asked_for_is_not_asked_for_again():
    """A template answers later: meanwhile the operator has drained the slot."""
    host = host_with(None, pool={"workers": 1})
    pool = host.pool
    assert pool.tick(0.0).actions == (Spawn(A1),)
    assert pool.drain([0], 0.0).actions == (Withdraw(A1),)
    (told,) = pool.ran_short(A1, WHY, 0.0).changes
    assert (told.event, told.fields["verdict"]) == (log_events.WORKER_EXITED, "asked")
    assert pool.tick(RETRY_MAX).actions == () and not pool.workers


@pytest.mark.parametrize(
    ("ended", "failure"),
    [
        (Exit(code=71), Failure(71, "cannot start: Resource temporarily unavailable")),
        (Exit(code=71), None),
        (Exit(code=1, shortage="pids.max of the cgroup is reached"), None),
        (Exit(signal=9, shortage="pids.max of the cgroup is reached"), None),
    ],
)
def test_a_worker_that_ran_short_itself_as_it_started_is_no_failure_of_its_slot(ended, failure):
    host = host_with(None, pool={"workers": 1})
    host.tick()
    waits = []
    for generation in range(1, 12):
        ref = Ref(0, generation)
        if failure is not None:
            host.beat(ref, "starting", failure=failure)
        host.do(host.pool.exited(ref, ended, host.now))
        nobody_is_blamed(host)
        began = host.now
        host.until_started(Ref(0, generation + 1))
        waits.append(host.now - began)
    assert waits[0] <= 1.0 and waits[-1] >= RETRY_MAX - 1, "it is tried ever more rarely"
    (told,) = host.told(log_events.HOST_SHORTAGE)
    assert "71" in told.fields["detail"] or told.fields["detail"] == (failure.message if failure else ended.shortage)
    assert not host.told(log_events.HOST_SHORTAGE_OVER), "that it runs proves nothing yet"
    host.run(3)
    assert host.pool.ready == 1 and len(host.told(log_events.HOST_SHORTAGE_OVER)) == 1


def test_the_others_wait_until_one_that_ran_short_as_it_started_is_ready():
    host = host_with(None)
    host.tick()
    for ref in (A1, B1, C1):
        host.do(host.pool.exited(ref, Exit(code=71), host.now))
    host.tick(1.0)
    started = [ref for ref, worker in host.pool.workers.items() if worker.pid is not None]
    assert started == [A2]
    host.tick(5.0)
    assert [ref for ref, worker in host.pool.workers.items() if worker.pid is not None] == [A2]
    host.beat(A2)
    assert all(worker.pid is not None for worker in host.pool.workers.values())


def test_a_worker_that_was_ready_and_then_ends_so_has_crashed():
    host = host_with(None)
    host.fill()
    host.do(host.pool.exited(A1, Exit(code=71, shortage="pids.max"), host.now))
    assert not host.told(log_events.HOST_SHORTAGE) and host.pool.slots[0].streak == 1


def test_time_that_was_spent_waiting_is_no_time_that_the_worker_has_lived():
    """A program without heartbeats is ready once it has lived for a while."""
    host = Host(policy(beats_required=False, ready_after=2.0, pool={"workers": 1}))
    host.room = 0
    host.tick()
    host.run(60)
    host.room = None
    host.until_started(A1)
    assert host.pool.workers[A1].phase is Phase.STARTING
    host.tick(1.9)
    assert host.pool.workers[A1].phase is Phase.STARTING
    host.tick(0.2)
    assert host.pool.workers[A1].phase is Phase.READY
