"""What happens next, and when, for each phase and each empty seat."""

from dataclasses import replace

import pytest

from mindbot_supervisor.core.health.history import History
from mindbot_supervisor.core.workers import next_steps
from mindbot_supervisor.core.workers.model import Phase, Reason, Urgency, Verdict
from mindbot_supervisor.core.workers.slots import Slot

from .build import beat, call, policy, worker

POLICY = policy()
STOP_TIMEOUT = POLICY.pool.stop_timeout
SOFT = Verdict(Reason.ERRORS, Urgency.DRAIN, 11, 10)


def coming(of, calls: int = 0, *, heard: bool = True, slot: Slot | None = None, by=POLICY) -> list[tuple[str, object]]:
    history = History(born=0.0)
    if heard:
        history.hear(beat(1, calls=tuple(call(n) for n in range(calls))), 40.0)
    return [(each.what, each.at) for each in next_steps.of_worker(of, history, slot, by)]


@pytest.mark.parametrize(
    ("of", "facts", "words", "at"),
    [
        (worker(Phase.STARTING), {"heard": False}, "killed, if it is not heard", 60.0),
        (worker(Phase.STARTING), {"heard": False, "by": policy(beats_required=False)}, "counts as ready", 1.0),
        (worker(Phase.STARTING, leaving=SOFT), {}, "replacement", None),
        (worker(leaving=SOFT), {}, "serves until its replacement is ready", None),
        (worker(suspect=True), {}, "hung and killed", 50.0),
        (worker(Phase.DRAINING, deadline=90.0), {"calls": 2}, "its 2 calls may go on", 90.0),
        (worker(Phase.DRAINING, deadline=90.0, quiet_since=50.0), {}, "still alive then", 50.0 + STOP_TIMEOUT),
        (worker(Phase.DRAINING, deadline=52.0, quiet_since=50.0), {}, "still alive then", 52.0),
        (worker(Phase.KILLING, deadline=51.0), {}, "SIGKILL, sooner", 51.0),
        (worker(Phase.KILLING, deadline=55.0, killed=True), {}, "SIGKILL again", 55.0),
        (worker(), {"slot": Slot(0, streak=2)}, "forgiven", 31.0),
    ],
)
def test_the_next_thing_is_told_with_its_time(of, facts, words, at):
    ((what, when),) = coming(of, **facts)
    assert words in what
    assert when == at


def test_a_healthy_worker_has_nothing_before_it():
    assert coming(worker(), 1, slot=Slot(0)) == []


@pytest.mark.parametrize(
    ("slot", "words", "at"),
    [
        (Slot(3, retry_at=9.0), "a new worker is started", 9.0),
        (Slot(3, retry_at=9.0, parked=True, streak=5), "parked slot is tried again (5 failures)", 9.0),
        (Slot(3, emptied=True), "restart 3", None),
        (Slot(3, surplus=True), "scaled away", None),
    ],
)
def test_an_empty_seat_tells_what_it_waits_for(slot, words, at):
    (found,) = next_steps.of_slot(slot)
    assert words in found.what
    assert found.at == at
    assert list(next_steps.of_slot(replace(Slot(3)))) == []
