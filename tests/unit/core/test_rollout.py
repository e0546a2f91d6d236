"""Rolling changes, scaling, emptying and holding: what operators ask of the pool."""

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Spawn, Terminate
from mindbot_supervisor.core.workers.model import Exit, Phase, Reason, Ref, Sample

from .build import Driver, call, policy

A1, A2, A3, B1, B2, C1, C2 = Ref(0, 1), Ref(0, 2), Ref(0, 3), Ref(1, 1), Ref(1, 2), Ref(2, 1), Ref(2, 2)


def full(**sections) -> Driver:
    driver = Driver(policy(**sections))
    driver.fill()
    return driver


def roll(driver: Driver, seconds: int = 60) -> int:
    """Let a rolling change go on while every worker has a call that outlasts it; the fewest ready workers seen."""
    fewest = driver.pool.ready
    for _ in range(seconds):
        driver.run(1, calls=(call(),))
        fewest = min(fewest, sum(w.phase is Phase.READY for w in driver.pool.workers.values()))
    return fewest


def test_restart_all_replaces_everybody_one_at_a_time_and_never_has_fewer_workers():
    driver = full()
    driver.do(driver.pool.restart([0, 1, 2], driver.now))
    assert roll(driver) == 3
    ready = {ref for ref, worker in driver.pool.workers.items() if worker.phase is Phase.READY}
    assert ready == {A2, B2, C2}
    assert {ref for ref, w in driver.pool.workers.items() if w.phase is Phase.DRAINING} == {A1, B1, C1}, "calls go on"
    (finished,) = driver.told(log_events.ROLLOUT_FINISHED)
    assert (finished.fields["done"], finished.fields["total"]) == (3, 3)
    assert len(driver.told(log_events.ROLLOUT_PROGRESS)) == 3


def test_the_next_one_waits_until_the_replacement_of_the_one_before_is_ready():
    driver = full()
    driver.do(driver.pool.restart([0, 1, 2], driver.now))
    spawned = [action.ref for action in driver.did(Spawn)][3:]
    assert spawned == [A2]
    driver.run(5, silent=(A2,))
    assert B2 not in driver.pool.workers


def test_a_replacement_that_does_not_become_ready_stops_the_rollout_and_keeps_the_old_workers():
    driver = full()
    driver.do(driver.pool.restart([0, 1, 2], driver.now))
    driver.do(driver.pool.exited(A2, Exit(code=1), driver.now))
    assert not driver.did(Terminate)
    (stopped,) = driver.told(log_events.ROLLOUT_STOPPED)
    assert "0.2 did not become ready" in stopped.fields["detail"]
    driver.run(120)
    assert set(driver.pool.workers) == {A1, B1, C1}
    assert driver.pool.ready == 3


def test_a_rollout_that_stops_leaves_one_worker_in_each_seat():
    driver = full(pool={"max_unavailable": 2})
    driver.do(driver.pool.restart([0, 1, 2], driver.now))
    assert {A2, B2} <= set(driver.pool.workers)
    driver.do(driver.pool.exited(A2, Exit(code=1), driver.now))
    seated = [ref for ref, worker in driver.pool.workers.items() if worker.seated]
    assert sorted(seated) == [A1, B2, C1], "the replacement of the second is under way"
    driver.run(5)
    assert driver.did(Terminate) == [Terminate(B1)]


def test_the_death_of_an_old_worker_of_the_slot_does_not_stop_a_rollout():
    driver = full()
    driver.do(driver.pool.drain([0], driver.now))
    driver.do(driver.pool.restart([0], driver.now))
    driver.do(driver.pool.restart([0], driver.now))
    assert {A1, A2, A3} <= set(driver.pool.workers)
    driver.do(driver.pool.sample(A1, Sample(1e6, 1e6, 1e6), driver.now))
    driver.tick()
    assert not driver.told(log_events.ROLLOUT_STOPPED)
    assert [ref for ref, worker in driver.pool.workers.items() if worker.seated and ref.slot == 0] == [A3]


def test_a_worker_that_crashes_during_the_rollout_counts_as_replaced():
    driver = full()
    driver.do(driver.pool.restart([0, 1, 2], driver.now))
    driver.do(driver.pool.exited(C1, Exit(code=1), driver.now))
    roll(driver)
    assert {ref for ref, w in driver.pool.workers.items() if w.phase is Phase.READY} == {A2, B2, C2}
    assert driver.told(log_events.ROLLOUT_FINISHED)[0].fields["done"] == 3


def test_drain_leaves_the_seat_empty_until_a_restart_fills_it():
    driver = full()
    driver.do(driver.pool.drain([0], driver.now))
    assert driver.did(Terminate) == [Terminate(A1)]
    driver.do(driver.pool.exited(A1, Exit(code=0), driver.now))
    driver.run(300)
    assert {ref.slot for ref in driver.pool.workers} == {1, 2}
    driver.do(driver.pool.restart([0], driver.now))
    assert A2 in driver.pool.workers


def test_restart_fills_a_parked_slot_at_once():
    driver = full()
    for _ in range(30):
        for ref in [ref for ref in driver.pool.workers if ref.slot == 0]:
            driver.do(driver.pool.exited(ref, Exit(code=1), driver.now))
        driver.run(1)
    assert driver.pool.slots[0].parked
    driver.do(driver.pool.restart([0], driver.now))
    assert not driver.pool.slots[0].parked
    assert any(ref.slot == 0 for ref in driver.pool.workers)


def test_scaling_up_fills_new_seats_and_scaling_down_drains_those_with_the_fewest_calls():
    driver = full()
    driver.do(driver.pool.scale(5, driver.now))
    driver.run(20)
    assert driver.pool.ready == 5
    for ref in (A1, B1, C1, Ref(4, 1)):
        driver.beat(ref, calls=(call(),))
    driver.do(driver.pool.scale(4, driver.now))
    assert driver.did(Terminate) == [Terminate(Ref(3, 1))]
    driver.do(driver.pool.exited(Ref(3, 1), Exit(code=0), driver.now))
    assert sorted(driver.pool.slots) == [0, 1, 2, 4]


def test_a_seat_that_comes_back_never_uses_a_generation_again():
    driver = full()
    driver.do(driver.pool.scale(2, driver.now))
    driver.do(driver.pool.exited(C1, Exit(code=0), driver.now))
    driver.do(driver.pool.scale(3, driver.now))
    driver.run(5)
    assert C2 in driver.pool.workers


def test_a_crash_of_a_worker_that_is_scaled_away_fills_nothing():
    driver = full()
    driver.do(driver.pool.scale(2, driver.now))
    driver.do(driver.pool.exited(C1, Exit(signal=11), driver.now))
    driver.run(30)
    assert {ref.slot for ref in driver.pool.workers} == {0, 1}


@pytest.mark.parametrize("reason", [Reason.CONFIG, Reason.ENV])
def test_a_reload_rolls_with_its_own_reason_and_is_no_failure_of_the_slot(reason):
    driver = full()
    driver.do(driver.pool.restart([0, 1, 2], driver.now, reason))
    roll(driver)
    assert driver.told(log_events.WORKER_DRAINING, A1)[0].fields["reason"] == reason.value
    assert driver.pool.slots[0].streak == 0


def test_nothing_soft_happens_while_the_operator_holds_the_pool():
    driver = full()
    driver.do(driver.pool.hold(True, driver.now))
    driver.beat(A1, errors_total=99)
    driver.run(30)
    assert set(driver.pool.workers) == {A1, B1, C1}
    assert len(driver.told(log_events.POOL_HELD)) == 1
    driver.do(driver.pool.hold(False, driver.now))
    assert len(driver.told(log_events.POOL_RELEASED)) == 1


def test_a_crash_is_answered_while_the_operator_holds_the_pool():
    driver = full()
    driver.do(driver.pool.hold(True, driver.now))
    driver.do(driver.pool.exited(A1, Exit(code=1), driver.now))
    assert A2 in driver.pool.workers
