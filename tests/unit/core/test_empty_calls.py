"""A call means somebody in a room: what is done about jobs whose room is gone, and who is waited for at a drain."""

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Forget, KillJob, Recover
from mindbot_supervisor.core.calls.call_liveness import Found
from mindbot_supervisor.core.calls.recovery_state import Terms
from mindbot_supervisor.core.workers.model import Exit, Phase, Ref

from .build import Driver, call, policy

A, B = Ref(0, 1), Ref(1, 1)
TIMEOUT, STOP = 60.0, 30.0


@pytest.fixture
def driver():
    made = Driver(policy(pool={"workers": 2, "drain_timeout": 3600.0}))
    made.pool.recover_by(Terms(attempts=2, deadline=5.0))
    made.fill()
    return made


def run(driver, seconds, *calls, ref=A, step=1.0, state=None):
    """Let time pass with these calls, whose rooms are gone for longer and longer."""
    for _ in range(round(seconds / step)):
        driver.now += step
        for each in driver.pool.workers:
            driver.beat(each, state=state if each == ref else None, calls=calls if each == ref else ())
        driver.tick()


def gone(driver, since, **fields):
    return call(1, pid=777, gone=driver.now - since, **fields)


def lasting(driver, seconds, *more, state=None):
    """A job whose room has been gone from now on, for so many seconds."""
    since = driver.now
    for _ in range(round(seconds)):
        driver.now += 1.0
        for ref in list(driver.pool.workers):
            driver.beat(ref, state=state if ref == A else None, calls=(gone(driver, since), *more) if ref == A else ())
        driver.tick()


def test_a_job_whose_room_is_gone_is_ended_after_its_time_and_its_call_is_counted_as_ended(driver):
    lasting(driver, TIMEOUT - 1)
    assert not driver.did(KillJob)
    lasting_from = driver.now - TIMEOUT + 1
    driver.now += 2
    driver.beat(A, calls=(gone(driver, lasting_from),))
    driver.tick()
    assert driver.did(KillJob) == [KillJob(A, "AJ_1", 777)]
    driver.do(driver.pool.job_killed(A, "AJ_1", Found(stack="stack", where="agent.py:3 in work"), driver.now))
    (told,) = driver.told(log_events.CALL_GONE)
    assert (told.fields["room"], told.fields["process"], told.fields["limit"]) == ("r1", 777, TIMEOUT)
    assert told.fields["where"] == "agent.py:3 in work"
    assert not driver.told(log_events.CALL_HUNG)
    (ended,) = driver.told(log_events.CALL_ENDED)
    assert ended.fields["outcome"] == "room_gone"
    assert (driver.pool.counts.ended, driver.pool.counts.lost) == (1, 0)
    assert [type(action) for action in driver.actions if isinstance(action, Forget)] == [Forget]


def test_a_job_that_is_listed_after_its_end_is_no_call_any_more_and_is_ended_once(driver):
    lasting(driver, TIMEOUT + 20)
    assert len(driver.did(KillJob)) == len(driver.told(log_events.CALL_ENDED)) == 1
    assert driver.pool.calls_of(A) == driver.pool.active_calls == 0
    assert driver.pool.counts.ended == 1
    assert not driver.did(Recover)
    driver.beat(A, calls=())
    assert driver.pool.counts.ended == 1
    assert not driver.pool.histories[A].rooms.over


def test_a_killed_job_whose_room_was_gone_lost_nobody_an_agent(driver):
    from mindbot_worker.protocol.heartbeat import KILLED, Ended

    lasting(driver, 5)
    driver.beat(A, calls=(), ended=(Ended("r1", "AJ_1", KILLED),))
    assert not driver.did(Recover)
    assert driver.told(log_events.CALL_ENDED)[0].fields["outcome"] == "room_gone"


def test_nor_does_a_worker_that_dies_with_such_a_job(driver):
    lasting(driver, 5)
    driver.do(driver.pool.exited(A, Exit(signal=9), driver.now))
    assert not driver.did(Recover)
    assert (driver.pool.counts.ended, driver.pool.counts.lost) == (1, 0)


def test_a_room_that_is_there_again_has_all_its_time_again(driver):
    lasting(driver, TIMEOUT - 5)
    driver.beat(A, calls=(call(1, pid=777),))
    lasting(driver, TIMEOUT - 5)
    assert not driver.did(KillJob)


def test_the_workers_own_process_is_never_ended_for_a_call(driver):
    own = driver.pool.workers[A].pid
    for _ in range(100):
        driver.now += 1
        driver.beat(A, calls=(call(1, pid=own, gone=100.0),))
        driver.beat(B)
        driver.tick()
    assert not driver.did(KillJob)
    assert driver.pool.counts.ended == 1
    (told,) = driver.told(log_events.CALL_GONE)
    assert "left alone" in told.fields["detail"]


@pytest.mark.parametrize("pid", [None, 777])
def test_livekit_is_believed_about_a_room_that_it_has_listed_before(driver, pid):
    def look(*listed):
        driver.now += 5
        driver.beat(A, calls=(call(1, pid=pid),))
        driver.beat(B)
        driver.tick()
        driver.do(driver.pool.rooms_listed(["r1"], listed, driver.now))

    for _ in range(30):
        look()
    assert not driver.told(log_events.CALL_ENDED), "it may be another LiveKit's"
    look("r1")
    for _ in range(30):
        look()
    assert [change.fields["outcome"] for change in driver.told(log_events.CALL_ENDED)] == ["room_gone"]
    assert bool(driver.did(KillJob)) == (pid is not None)


def test_a_room_that_livekit_lists_again_is_not_gone(driver):
    driver.beat(A, calls=(call(1, pid=777),))
    for listed in (["r1"], [], ["r1"]):
        driver.do(driver.pool.rooms_listed(["r1"], listed, driver.now))
    run(driver, TIMEOUT + 10, call(1, pid=777))
    assert not driver.told(log_events.CALL_ENDED)


def test_a_room_that_was_not_asked_for_says_nothing(driver):
    driver.beat(A, calls=(call(1, pid=777),))
    driver.do(driver.pool.rooms_listed(["r1"], ["r1"], driver.now))
    driver.do(driver.pool.rooms_listed(["r2"], [], driver.now))
    run(driver, TIMEOUT + 10, call(1, pid=777))
    assert not driver.told(log_events.CALL_ENDED)


def test_a_stop_waits_for_calls_with_somebody_in_them(driver):
    driver.beat(A, calls=(call(1, present=True),))
    driver.do(driver.pool.stop(driver.now))
    run(driver, STOP + 100, call(1, present=True))
    assert driver.pool.workers[A].phase is Phase.DRAINING
    run(driver, STOP + 1, call(1, present=False))
    assert driver.pool.workers[A].phase is Phase.KILLING


def test_a_call_of_which_nobody_says_who_is_in_it_is_waited_for(driver):
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.stop(driver.now))
    run(driver, STOP + 100, call(1))
    assert driver.pool.workers[A].phase is Phase.DRAINING


def test_a_caller_who_comes_back_in_time_is_waited_for(driver):
    driver.beat(A, calls=(call(1, present=True),))
    driver.do(driver.pool.stop(driver.now))
    for _ in range(5):
        run(driver, STOP - 5, call(1, present=False))
        run(driver, 2, call(1, present=True))
    assert driver.pool.workers[A].phase is Phase.DRAINING


def test_a_stop_waits_for_a_job_whose_room_is_gone_only_for_its_own_time(driver):
    driver.beat(A, calls=(call(1, pid=777),))
    driver.do(driver.pool.stop(driver.now))
    lasting(driver, TIMEOUT - 2)
    assert driver.pool.workers[A].phase is Phase.DRAINING
    lasting(driver, 4)
    assert driver.pool.workers[A].phase is Phase.KILLING


def test_a_worker_without_calls_that_does_not_end_has_stop_timeout_and_not_the_drains(driver):
    driver.do(driver.pool.stop(driver.now))
    run(driver, STOP - 2)
    assert driver.pool.workers[A].phase is Phase.DRAINING
    run(driver, 4)
    assert driver.pool.workers[A].phase is Phase.KILLING


def test_a_room_cannot_be_gone_for_longer_than_its_worker_lives(driver):
    driver.beat(A, calls=(call(1, pid=777, gone=1e9),))
    assert driver.pool.histories[A].rooms.since["AJ_1"] >= 0.0
    driver.tick()
    assert not driver.did(KillJob)


def test_a_call_whose_room_is_gone_is_not_moved(driver):
    driver.beat(A, calls=(call(1, pid=777, gone=1.0),))
    driver.do(driver.pool.restart([0], driver.now, hurry=True))
    lasting(driver, 20)
    assert not driver.did(Recover)
