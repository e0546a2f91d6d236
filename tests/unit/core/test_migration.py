"""Calls that are moved on purpose: when, how many, and that their worker's end is neither too early nor too late."""

from dataclasses import replace

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Kill, Recover, Terminate
from mindbot_supervisor.core.calls.migration import LEAD, MOVE_GRACE, reason, seats
from mindbot_supervisor.core.calls.recovery import OVERDUE
from mindbot_supervisor.core.calls.recovery_state import Failed, Recovered, Terms
from mindbot_supervisor.core.policy import MEMORY_STACK_GRACE
from mindbot_supervisor.core.workers.model import Exit, Phase, Reason, Ref, Sample, Urgency, Verdict
from mindbot_worker.protocol.heartbeat import Call, Ended

from .build import Driver, call, policy, worker

A, A2, B = Ref(0, 1), Ref(0, 2), Ref(1, 1)
CAME = Recovered("agent-2")


def leaving(why: Reason) -> Verdict:
    return Verdict(why, Urgency.KILL)


@pytest.mark.parametrize(
    ("fields", "hurried", "expected"),
    [
        pytest.param({}, True, None, id="it stays"),
        pytest.param({"leaving": leaving(Reason.OPERATOR)}, True, None, id="its replacement is not ready"),
        pytest.param(
            {"phase": Phase.DRAINING, "leaving": leaving(Reason.OPERATOR), "deadline": 100.0}, False, None, id="drain"
        ),
        pytest.param(
            {"phase": Phase.DRAINING, "leaving": leaving(Reason.OPERATOR), "deadline": 100.0},
            True,
            Reason.OPERATOR,
            id="drain in a hurry",
        ),
        pytest.param(
            {"phase": Phase.DRAINING, "leaving": leaving(Reason.ERRORS), "deadline": 50.0 + LEAD},
            False,
            Reason.DRAIN_TIMEOUT,
            id="the deadline is near",
        ),
        pytest.param(
            {"phase": Phase.KILLING, "leaving": leaving(Reason.MEMORY)}, False, Reason.MEMORY, id="too much memory"
        ),
        pytest.param({"phase": Phase.KILLING, "leaving": leaving(Reason.HUNG)}, False, None, id="hung: others recover"),
        pytest.param(
            {"phase": Phase.KILLING, "leaving": leaving(Reason.MEMORY), "killed": True}, False, None, id="killed"
        ),
    ],
)
def test_when_calls_must_not_be_waited_for(fields, hurried, expected):
    assert reason(worker(**{"phase": Phase.READY, **fields}), 50.0, hurried=hurried) is expected


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], 0),
        ([(worker(), 8), (worker(), 0)], 12),
        ([(worker(), 12)], 0),
        ([(worker(registered=False), 0)], 0),
        ([(worker(leaving=leaving(Reason.ERRORS)), 0)], 0),
        ([(worker(Phase.STARTING), 0), (worker(Phase.DRAINING), 0)], 0),
    ],
)
def test_only_workers_that_take_calls_have_seats(others, expected):
    assert seats(others, 10) == expected


def pool(**sections) -> Driver:
    driver = Driver(policy(**sections))
    driver.pool.recover_by(Terms(2, 5.0))
    driver.fill()
    return driver


def moved(driver: Driver) -> list[str]:
    return [action.call.job for action in driver.did(Recover) if action.moved]


def heavy(driver: Driver) -> None:
    """A is above its hard limit, with two calls."""
    driver.beat(A, calls=(call(1), call(2)))
    driver.do(driver.pool.sample(A, Sample(9_000.0, 9_000.0, 9_000.0), driver.now))
    driver.tick(1)


def test_memory_moves_the_calls_and_kills_when_the_last_one_has_gone():
    driver = pool()
    heavy(driver)
    assert moved(driver) == ["AJ_1", "AJ_2"]
    driver.do(driver.pool.answered("AJ_1", CAME, driver.now + 0.3))
    assert not driver.did(Kill)
    driver.do(driver.pool.answered("AJ_2", CAME, driver.now + 0.4))
    assert driver.did(Kill) == [Kill(A)]
    assert driver.pool.counts.migrated == 2
    driver.do(driver.pool.exited(A, Exit(signal=9), driver.now + 0.5))
    assert (driver.pool.counts.cut_by_us, driver.pool.counts.lost) == (0, 0)
    assert len(driver.did(Recover)) == 2


def test_a_call_counts_once_while_its_old_agent_leaves():
    driver = pool()
    heavy(driver)
    assert driver.pool.active_calls == 2
    driver.beat(B, calls=(replace(call(1), job="AJ_new"),))
    assert driver.pool.active_calls == 2
    driver.do(driver.pool.answered("AJ_1", CAME, driver.now))
    driver.beat(A, calls=(call(1), call(2)))
    assert driver.pool.active_calls == 2


def test_a_new_agent_that_ends_before_its_turn_had_no_call_of_its_own():
    driver = pool()
    heavy(driver)
    driver.beat(B, calls=(replace(call(1), job="AJ_new"),))
    driver.beat(B, calls=())
    assert not driver.told(log_events.CALL_ENDED)
    assert driver.pool.counts.ended == 0


def test_memory_kills_anyway_when_the_calls_do_not_move_in_time():
    driver = pool()
    heavy(driver)
    driver.tick(MOVE_GRACE - 0.1)
    assert not driver.did(Kill)
    driver.tick(0.1)
    assert driver.did(Kill) == [Kill(A)]


@pytest.mark.parametrize("alone", ["no recovery", "nobody has a seat"])
def test_memory_kills_at_once_when_nobody_can_take_the_calls(alone):
    driver = pool(pool={"max_calls": 1})
    if alone == "no recovery":
        driver.pool.recover_by(None)
    for ref in (B, Ref(2, 1)):
        driver.beat(ref, calls=(call(ref.slot + 10),))
    heavy(driver)
    assert not moved(driver)
    driver.tick(MEMORY_STACK_GRACE)
    assert driver.did(Kill) == [Kill(A)]


def test_calls_are_moved_before_the_drain_deadline_cuts_them_and_the_worker_ends_by_itself():
    driver = pool(pool={"drain_timeout": 20.0})
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.drain([0], driver.now))
    for _ in range(14):
        driver.run(1, silent=(A,))
        driver.beat(A, calls=(call(1),))
    assert not moved(driver)
    driver.run(1, silent=(A,))
    assert moved(driver) == ["AJ_1"]
    driver.do(driver.pool.answered("AJ_1", CAME, driver.now))
    driver.beat(A)
    driver.do(driver.pool.exited(A, Exit(code=0), driver.now))
    assert not driver.did(Kill)
    assert (driver.pool.counts.migrated, driver.pool.counts.ended) == (1, 0)
    assert not driver.told(log_events.CALL_ENDED)


def test_a_restart_in_a_hurry_moves_the_calls_once_the_replacement_is_ready():
    driver = pool()
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.restart([0], driver.now, hurry=True))
    driver.tick(1)
    assert not moved(driver)
    driver.beat(A2)
    assert driver.did(Terminate) == [Terminate(A)]
    driver.tick(1)
    assert moved(driver) == ["AJ_1"]
    driver.tick(1)
    assert moved(driver) == ["AJ_1"], "once"


def test_an_ordinary_restart_waits_for_the_calls():
    driver = pool()
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.restart([0], driver.now))
    driver.tick(1)
    driver.beat(A2)
    driver.tick(1)
    assert not moved(driver)


def test_no_more_calls_are_moved_than_others_have_seats_for():
    driver = pool(pool={"max_calls": 2})
    driver.beat(B, calls=(call(8),))
    driver.beat(Ref(2, 1), calls=(call(6), call(7)))
    driver.beat(A, calls=(call(1), call(2)))
    driver.do(driver.pool.drain([0], driver.now))
    driver.pool.hurried.add(A)
    driver.tick(1)
    assert moved(driver) == ["AJ_1"]


def test_a_call_whose_agent_could_not_be_taken_out_stays_where_it_is_and_is_tried_again():
    driver = hurried(call(1))
    driver.do(driver.pool.answered("AJ_1", Failed("cannot reach livekit", blind=True, untouched=True), driver.now))
    assert driver.pool.counts == type(driver.pool.counts)()
    driver.tick(1)
    assert moved(driver) == ["AJ_1", "AJ_1"]


def hurried(*calls: Call) -> Driver:
    """A has these calls, and is restarted in a hurry: its replacement is ready."""
    driver = pool()
    driver.beat(A, calls=calls)
    driver.do(driver.pool.restart([0], driver.now, hurry=True))
    driver.tick(1)
    driver.beat(A2)
    driver.tick(1)
    return driver


def out(driver: Driver, job: str = "AJ_1") -> None:
    """The old agent of this call is out of its room."""
    driver.do(driver.pool.left_alone(job, driver.now))


def test_a_moved_caller_waits_only_from_the_moment_when_the_old_agent_has_left():
    driver = hurried(call(1))
    driver.now += 0.8
    driver.beat(B, calls=(call(1, job="AJ_2"),))
    driver.now += 0.1
    out(driver)
    driver.now += 0.25
    driver.do(driver.pool.answered("AJ_1", CAME, driver.now))
    (moved_call,) = driver.told(log_events.CALL_MIGRATED)
    assert moved_call.fields["seconds"] == 0.25
    assert moved_call.fields["by"] == str(B)


def test_a_moved_caller_whose_agent_dies_before_its_turn_waits_from_then_on():
    driver = hurried(call(1))
    driver.do(driver.pool.exited(A, Exit(signal=9), driver.now))
    assert len(driver.did(Recover)) == 1, "the attempt that is under way is for this caller"
    driver.now += 0.4
    out(driver)
    driver.do(driver.pool.answered("AJ_1", CAME, driver.now))
    assert driver.told(log_events.CALL_MIGRATED)[0].fields["seconds"] == 0.4
    assert driver.pool.counts.lost == 0


def test_only_so_many_calls_are_moved_at_one_time_and_each_that_has_moved_lets_the_next_one():
    driver = hurried(*(call(n) for n in range(1, 7)))
    assert moved(driver) == ["AJ_1", "AJ_2", "AJ_3", "AJ_4"]
    driver.do(driver.pool.answered("AJ_2", CAME, driver.now))
    assert moved(driver) == ["AJ_1", "AJ_2", "AJ_3", "AJ_4", "AJ_5"]
    driver.do(driver.pool.answered("AJ_1", Failed("no agent came", untouched=True), driver.now))
    assert len(moved(driver)) == 5, "what failed is not tried again in the same moment"
    driver.tick(1)
    assert moved(driver)[5:] == ["AJ_1"]


def test_calls_that_would_be_cut_otherwise_are_moved_more_at_one_time():
    driver = pool()
    driver.pool.recover_by(Terms(2, 5.0, at_once=1))
    heavy(driver)
    assert moved(driver) == ["AJ_1", "AJ_2"]


def test_an_agent_that_was_called_off_before_it_had_the_call_is_not_counted():
    driver = hurried(call(1))
    driver.beat(B, calls=(call(1, job="AJ_2"),))
    assert driver.pool.active_calls == 1
    driver.do(driver.pool.answered("AJ_1", Failed("livekit did not answer", blind=True, untouched=True), driver.now))
    assert driver.pool.active_calls == 1
    driver.beat(B, ended=(Ended("r1", "AJ_2", "completed"),))
    driver.beat(A, ended=(Ended("r1", "AJ_1", "completed"),))
    assert (driver.pool.counts.ended, driver.pool.active_calls) == (1, 0)


def test_an_agent_that_dies_before_it_had_the_call_leaves_it_with_the_old_one():
    driver = hurried(call(1))
    driver.beat(B, calls=(call(1, job="AJ_2"),))
    driver.beat(B, ended=(Ended("r1", "AJ_2", "killed"),))
    assert not driver.pool.has_successor("AJ_1"), "the old agent is not taken out for a dead one"
    assert not driver.told(log_events.CALL_LOST)
    assert len(driver.did(Recover)) == 1
    driver.beat(B, calls=(call(1, job="AJ_3"),))
    out(driver)
    driver.do(driver.pool.answered("AJ_1", CAME, driver.now))
    assert (driver.pool.counts.migrated, driver.pool.counts.lost) == (1, 0)


def test_an_agent_that_dies_when_it_had_the_call_is_replaced():
    driver = hurried(call(1))
    driver.beat(B, calls=(call(1, job="AJ_2"),))
    out(driver)
    driver.beat(B, ended=(Ended("r1", "AJ_2", "killed"),))
    assert [(each.call.job, each.moved) for each in driver.did(Recover)] == [("AJ_1", True), ("AJ_2", False)]


def test_a_call_that_ends_before_its_new_agent_has_it_has_ended():
    driver = hurried(call(1))
    driver.beat(B, calls=(call(1, job="AJ_2"),))
    driver.beat(A, ended=(Ended("r1", "AJ_1", "completed"),))
    assert len(driver.told(log_events.CALL_ENDED)) == 1
    driver.do(driver.pool.answered("AJ_1", Failed("no agent came", untouched=True), driver.now))
    driver.beat(B, ended=(Ended("r1", "AJ_2", "completed"),))
    assert (driver.pool.counts.ended, driver.pool.counts.migrated, driver.pool.active_calls) == (1, 0, 0)


def test_a_move_that_nobody_answers_for_leaves_the_call_where_it_is():
    driver = hurried(call(1))
    driver.tick(5.0 + OVERDUE)
    assert not driver.told(log_events.CALL_LOST)
    driver.tick(1)
    assert moved(driver) == ["AJ_1", "AJ_1"]


def test_a_pool_that_stops_moves_nothing():
    driver = pool(pool={"drain_timeout": 3.0})
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.stop(driver.now))
    driver.tick(1)
    assert not moved(driver)
