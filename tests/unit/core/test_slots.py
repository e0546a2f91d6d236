"""How soon a slot is filled again."""

import pytest

from mindbot_config.sections.restart import Restart
from mindbot_supervisor.core.workers.slots import Slot, backoff, failed, filled, healthy, park_wait

RESTART = Restart()


@pytest.mark.parametrize(
    ("streak", "seconds"),
    [(0, 0), (1, 0), (2, 0.5), (3, 1), (4, 2), (8, 32), (9, 60), (10, 60), (10**6, 60)],
)
def test_the_first_failure_is_answered_at_once_and_then_waits_double(streak, seconds):
    assert backoff(streak, RESTART) == seconds


@pytest.mark.parametrize(("roll", "seconds"), [(0.0, 0.4), (0.5, 0.5), (1.0, 0.6)])
def test_a_wait_is_spread_by_the_workers_roll(roll, seconds):
    slot = failed(failed(Slot(0), 0.0, roll, RESTART), 1.0, roll, RESTART)
    assert slot.retry_at == pytest.approx(1.0 + seconds)


def test_a_slot_that_fails_often_within_the_window_is_parked():
    slot = Slot(0)
    for at in range(4):
        slot = failed(slot, float(at), 0.5, RESTART)
    assert not slot.parked
    slot = failed(slot, 4.0, 0.5, RESTART)
    assert (slot.parked, slot.retry_at) == (True, 64.0)


def test_failures_far_apart_never_park():
    slot = Slot(0)
    for at in range(0, 100 * 200, 200):
        slot = failed(slot, float(at), 0.5, RESTART)
    assert not slot.parked


@pytest.mark.parametrize(("parkings", "seconds"), [(0, 60), (1, 120), (2, 240), (3, 480), (4, 600), (99, 600)])
def test_a_parked_slot_is_retried_at_growing_intervals(parkings, seconds):
    assert park_wait(parkings, RESTART) == seconds


def test_a_retry_of_a_parked_slot_that_fails_parks_it_again_for_longer():
    slot = Slot(0, parked=True, parkings=1)
    assert failed(filled(slot), 0.0, 0.5, RESTART).retry_at == 120


def test_health_forgives_everything():
    slot = healthy(Slot(0, generation=7, streak=9, failures=(1.0,), parked=True, parkings=3, retry_at=9.0, restarts=6))
    assert slot == Slot(0, generation=7, restarts=6)


def test_memory_of_failures_is_bounded():
    slot = Slot(0)
    for at in range(1000):
        slot = failed(slot, at / 1000, 0.5, RESTART)
    assert len(slot.failures) <= RESTART.park_after
