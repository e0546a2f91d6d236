"""How often one worker makes us tell the same: bounded, counted beyond that, and its siblings are told as ever."""

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.health.event_rates import CALLS, ONCE, REJECTED, REPORT_EVERY, EventRates
from mindbot_supervisor.core.workers.model import Change, Ref

from .build import Driver, call, policy

A, B = Ref(0, 1), Ref(1, 1)


def change(event: str, at: float, ref: Ref | None = A) -> Change:
    return Change(event, at, ref)


def test_so_many_are_told_at_once_and_then_a_few_a_second():
    rates = EventRates()
    assert len(rates.admit(change(log_events.CALL_STARTED, 0.0) for _ in range(5000))) == CALLS.burst
    assert len(rates.admit(change(log_events.CALL_STARTED, 10.0) for _ in range(5000))) == 10 * CALLS.refill


def test_what_was_left_out_is_told_in_one_line_a_minute():
    rates = EventRates()
    for event in (log_events.CALL_STARTED, log_events.CALL_ENDED):
        rates.admit(change(event, 0.0) for _ in range(1000))
    (told,) = rates.report(1.0)
    assert (told.event, told.worker) == (log_events.EVENT_DROPPED, A)
    assert told.fields["counts"] == dict.fromkeys((log_events.CALL_STARTED, log_events.CALL_ENDED), 1000 - CALLS.burst)
    rates.admit(change(log_events.CALL_STARTED, 2.0) for _ in range(1000))
    assert rates.report(3.0) == []
    (again,) = rates.report(1.0 + REPORT_EVERY)
    assert again.fields["value"] > 900
    assert rates.report(5.0 + 2 * REPORT_EVERY) == []


def test_other_workers_and_other_events_have_their_own():
    rates = EventRates()
    rates.admit(change(log_events.CALL_STARTED, 0.0) for _ in range(1000))
    others = [
        change(log_events.CALL_STARTED, 0.0, B),
        change(log_events.CALL_LOST, 0.0),
        change(log_events.POOL_HELD, 0.0, None),
    ]
    assert list(rates.admit(others)) == others


def test_what_a_worker_has_once_in_its_life_is_always_told():
    rates = EventRates()
    for event in ONCE:
        assert len(rates.admit(change(event, 0.0) for _ in range(100))) == 100


def test_nothing_is_kept_of_those_who_are_quiet_again():
    rates = EventRates()
    for slot in range(1000):
        rates.admit([change(log_events.CALL_RECOVERED, 0.0, Ref(slot, 1))])
    rates.report(1000.0)
    assert not rates._allowances and not rates._reported


def test_calls_that_are_not_told_are_counted_all_the_same():
    driver = Driver(policy(pool={"workers": 1}))
    driver.fill()
    for number in range(100):
        driver.now += 0.02
        driver.beat(A, calls=tuple(call(n) for n in range(number * 50, number * 50 + 50)))
    driver.beat(A, calls=())
    driver.tick(1.0)
    assert driver.pool.counts.ended == 5000
    assert len(driver.told(log_events.CALL_STARTED)) < CALLS.burst + 20
    (told,) = driver.told(log_events.EVENT_DROPPED)
    assert told.fields["counts"].keys() == {log_events.CALL_STARTED, log_events.CALL_ENDED}


def test_a_flood_of_bad_beats_is_told_a_few_times_and_still_makes_the_worker_broken():
    driver = Driver(policy(pool={"workers": 1}))
    driver.fill()
    for _ in range(34_000):
        driver.now += 8 / 34_000
        driver.do(driver.pool.beat_rejected(A, "not JSON", driver.now))
    assert len(driver.told(log_events.BEAT_REJECTED)) <= REJECTED.burst + 1
    driver.tick()
    assert driver.pool.workers[A].leaving is not None


def test_beats_that_were_passed_over_are_told_at_once_and_once_a_minute():
    driver = Driver(policy(pool={"workers": 1}))
    driver.fill()
    for _ in range(300):
        driver.now += 0.1
        driver.do(driver.pool.beats_dropped(A, 1000, driver.now))
    (told,) = driver.told(log_events.BEAT_DROPPED)
    assert told.fields["value"] == 1000
    driver.now += 60
    driver.do(driver.pool.beats_dropped(A, 1000, driver.now))
    assert driver.told(log_events.BEAT_DROPPED)[-1].fields["value"] == 301_000
