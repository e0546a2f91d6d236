"""Calls that lost their agent: attempts, deadlines, what counts as what, and rooms that kill agent after agent."""

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Forget, Prepare, Recover, Spawn
from mindbot_supervisor.core.calls.call_outcomes import CallCounts
from mindbot_supervisor.core.calls.quarantine import FORGIVEN
from mindbot_supervisor.core.calls.recovery import CALLERS_FIRST, OVERDUE, PATIENCE, PAUSE, Recovery
from mindbot_supervisor.core.calls.recovery_state import Alone, Failed, Recovered, Terms
from mindbot_supervisor.core.workers.model import Change, Exit, Ref
from mindbot_worker.protocol.heartbeat import CALL_ENDING, Ended
from mindbot_worker.protocol.job_reports import ENDING

from .build import Driver, call, policy

A, B = Ref(0, 1), Ref(1, 1)
TERMS = Terms(attempts=2, deadline=5.0)
CAME, NONE = Recovered("agent-2"), Failed("no agent came within 5 s")


def fresh(terms: Terms = TERMS) -> Recovery:
    return Recovery(terms, CallCounts())


def told(moves) -> list[str]:
    return [move.event for move in moves if isinstance(move, Change)]


def tries(moves) -> list[Recover]:
    return [move for move in moves if isinstance(move, Recover)]


def counts(recovery: Recovery) -> dict[str, int]:
    found = recovery._counts
    named = {"ended": found.ended, "lost": found.lost, "recovered": found.recovered, "cut": found.cut_by_us}
    return {name: count for name, count in {**named, "migrated": found.migrated}.items() if count}


def test_a_lost_call_is_tried_at_once_with_its_deadline():
    moves = fresh().lost(call(1), A, 7, 100.0, reason="signal")
    assert told(moves) == [log_events.CALL_RECOVERING]
    assert tries(moves) == [Recover(call(1), attempt=1, seconds=5.0)]


@pytest.mark.parametrize(
    ("answer", "event", "counted", "forgets"),
    [
        pytest.param(CAME, log_events.CALL_RECOVERED, {"recovered": 1}, False, id="an agent came"),
        pytest.param(Alone(), log_events.CALL_ENDED, {"ended": 1}, True, id="the caller has left"),
        pytest.param(NONE, log_events.CALL_RECOVERING, {}, False, id="none came: to be tried again"),
        pytest.param(Failed("x", final=True), log_events.CALL_LOST, {"lost": 1}, True, id="none can come"),
        pytest.param(Failed("x", nobody=True), log_events.CALL_RECOVERING, {}, False, id="nobody was free"),
    ],
)
def test_an_attempt_ends_as_it_was_answered(answer, event, counted, forgets):
    recovery = fresh()
    recovery.lost(call(1), A, 7, 100.0, reason="signal")
    moves = recovery.answered("AJ_1", answer, 100.4)
    assert told(moves) == [event]
    assert counts(recovery) == counted
    assert any(isinstance(move, Forget) for move in moves) == forgets


def test_recovered_says_how_long_the_caller_was_alone():
    recovery = fresh()
    recovery.lost(call(1), A, 7, 100.0, reason="signal")
    recovery.started("r1", "AJ_2", B)
    (change,) = recovery.answered("AJ_1", CAME, 100.3204)
    assert change.fields == {
        "room": "r1",
        "job": "AJ_1",
        "seconds": 0.32,
        "attempt": 1,
        "identity": "agent-2",
        "by": "1.1",
        "reason": "signal",
    }


def test_a_failed_attempt_is_repeated_after_a_pause_and_the_last_one_loses_the_call():
    recovery = fresh()
    recovery.lost(call(1), A, 7, 0.0, reason="signal")
    recovery.answered("AJ_1", NONE, 5.0)
    assert recovery.tick(5.0 + PAUSE / 2) == []
    assert recovery.wake_at() == 5.0 + PAUSE
    (again,) = tries(recovery.tick(5.0 + PAUSE))
    assert again.attempt == 2
    moves = recovery.answered("AJ_1", NONE, 10.5)
    assert told(moves) == [log_events.CALL_LOST]
    assert counts(recovery) == {"lost": 1}
    assert recovery.tick(100.0) == []


def test_an_attempt_that_nobody_answers_for_has_failed():
    recovery = fresh()
    recovery.lost(call(1), A, 7, 0.0, reason="signal")
    assert recovery.tick(5.0 + OVERDUE - 0.1) == []
    assert told(recovery.tick(5.0 + OVERDUE)) == [log_events.CALL_RECOVERING]


def test_attempts_that_no_worker_was_free_for_do_not_count_until_patience_ends():
    recovery = fresh()
    recovery.lost(call(1), A, 7, 0.0, reason="signal")
    now, nobody = 0.0, Failed("no agent came within 5 s", nobody=True)
    while "AJ_1" in recovery.cases:
        now += 5.0
        recovery.answered("AJ_1", nobody, now)
        recovery.tick(now + PAUSE)
    assert PATIENCE <= now <= PATIENCE + 10
    assert counts(recovery) == {"lost": 1}


def test_where_livekit_stopped_answering_the_beats_tell_that_an_agent_came():
    recovery = fresh()
    recovery.lost(call(1), A, 7, 0.0, reason="signal")
    recovery.started("r1", "AJ_2", B)
    assert told(recovery.answered("AJ_1", Failed("cannot reach livekit", blind=True), 5.0)) == [
        log_events.CALL_RECOVERED
    ]


def test_late_and_repeated_news_of_a_closed_call_change_nothing():
    recovery = fresh()
    recovery.lost(call(1), A, 7, 0.0, reason="signal")
    recovery.answered("AJ_1", CAME, 0.3)
    assert recovery.answered("AJ_1", NONE, 5.0) == []
    assert recovery.lost(call(1), A, 7, 6.0, reason="signal") == []
    assert recovery.answered("AJ_unknown", CAME, 6.0) == []


def test_a_room_whose_agents_keep_dying_is_given_two_and_then_left_alone():
    recovery, seen = fresh(), []
    for number in range(1, 5):
        now = 10.0 * number
        moves = recovery.lost(call(1, job=f"AJ_{number}"), A, 7, now, reason="killed")
        seen += told(moves)
        recovery.answered(f"AJ_{number}", CAME, now + 0.3)
    assert seen == [log_events.CALL_RECOVERING] * 2 + [log_events.CALL_QUARANTINED] * 2
    assert counts(recovery) == {"recovered": 2, "lost": 2}


def test_two_agents_of_one_room_that_die_together_count_as_one_death():
    recovery = fresh()
    for job in ("AJ_1", "AJ_2"):
        (attempt,) = tries(recovery.lost(call(1, job=job), A, 7, 10.0, reason="signal"))
        assert attempt.attempt == 1
    recovery.answered("AJ_1", CAME, 10.3)
    recovery.answered("AJ_2", CAME, 10.3)
    assert tries(recovery.lost(call(1, job="AJ_3"), B, 8, 20.0, reason="signal"))


def test_deaths_are_forgiven_in_time_and_when_a_call_of_the_room_ended_well():
    for forgive in (lambda r: r.tick(20.0 + FORGIVEN), lambda r: r.over("r1", "AJ_9", well=True)):
        recovery = fresh()
        for number in (1, 2):
            recovery.lost(call(1, job=f"AJ_{number}"), A, 7, 10.0 * number, reason="killed")
            recovery.answered(f"AJ_{number}", CAME, 10.0 * number)
        forgive(recovery)
        assert tries(recovery.lost(call(1, job="AJ_9"), A, 7, 30.0 + FORGIVEN, reason="killed"))


def test_the_death_of_the_new_agent_on_its_way_goes_on_as_the_same_callers_case():
    recovery = fresh()
    recovery.lost(call(1), A, 7, 100.0, reason="signal")
    recovery.started("r1", "AJ_2", B)
    (attempt,) = tries(recovery.lost(call(1, job="AJ_2"), B, 8, 101.0, reason="killed"))
    assert (attempt.call.job, attempt.attempt, attempt.replaces) == ("AJ_2", 2, "AJ_1")
    assert recovery.answered("AJ_1", NONE, 105.0) == []
    (change,) = recovery.answered("AJ_2", CAME, 101.5)
    assert change.fields["seconds"] == 1.5
    assert counts(recovery) == {"recovered": 1}


def test_what_we_ended_ourselves_counts_as_cut_unless_it_is_recovered():
    recovery = fresh(Terms(attempts=1, deadline=5.0))
    recovery.lost(call(1), A, 7, 0.0, reason="killed", ours=True)
    recovery.answered("AJ_1", NONE, 5.0)
    recovery.lost(call(2), A, 7, 6.0, reason="killed", ours=True)
    recovery.answered("AJ_2", CAME, 6.3)
    assert counts(recovery) == {"cut": 1, "recovered": 1}


def test_an_agent_that_had_done_its_work_is_not_replaced():
    assert CALL_ENDING == ENDING
    recovery = fresh()
    moves = recovery.lost(call(1, state=ENDING), A, 7, 0.0, reason="signal")
    assert told(moves) == [log_events.CALL_ENDED]
    assert not tries(moves)


def test_a_stop_gives_up_what_is_open():
    recovery = fresh()
    recovery.lost(call(1), A, 7, 0.0, reason="signal")
    assert told(recovery.stop(1.0)) == [log_events.CALL_LOST]
    assert recovery.cases == {}


# -- in the pool -------------------------------------------------------------------------------------------------------


def pool() -> Driver:
    driver = Driver()
    driver.pool.recover_by(TERMS)
    driver.fill()
    return driver


def test_the_pool_recovers_every_call_of_a_dead_worker():
    driver = pool()
    driver.beat(A, calls=(call(1), call(2)))
    driver.do(driver.pool.exited(A, Exit(signal=9), driver.now))
    assert [each.call.job for each in driver.did(Recover)] == ["AJ_1", "AJ_2"]
    assert not driver.told(log_events.CALL_LOST)
    driver.do(driver.pool.answered("AJ_1", CAME, driver.now + 0.3))
    assert (driver.pool.counts.recovered, driver.pool.counts.lost) == (1, 0)


def died(calls: int, workers: int) -> list[Prepare]:
    driver = Driver(policy(pool={"workers": workers}))
    driver.pool.recover_by(TERMS)
    driver.fill()
    driver.beat(A, calls=tuple(call(number) for number in range(calls)))
    driver.do(driver.pool.exited(A, Exit(signal=9), driver.now))
    return driver.did(Prepare)


def test_whoever_may_get_the_calls_of_a_dead_worker_prepares_for_them():
    assert died(calls=5, workers=4) == [Prepare(Ref(slot, 1), 3) for slot in (1, 2, 3)]
    assert died(calls=2, workers=4) == [Prepare(Ref(slot, 1), 2) for slot in (1, 2, 3)]


@pytest.mark.parametrize(("calls", "workers"), [(1, 4), (0, 4), (5, 1)])
def test_nobody_prepares_for_a_single_call_and_nobody_can_where_none_is_left(calls, workers):
    assert died(calls, workers) == []


def test_the_pool_recovers_a_call_whose_job_process_was_killed():
    driver = pool()
    driver.beat(A, calls=(call(1), call(2)))
    driver.beat(A, calls=(call(2),), ended=(Ended("r1", "AJ_1", "killed"),))
    assert [each.call.job for each in driver.did(Recover)] == ["AJ_1"]
    driver.beat(A, calls=(call(2),), ended=(Ended("r1", "AJ_1", "killed"),))
    assert len(driver.did(Recover)) == 1


@pytest.mark.parametrize("outcome", ["completed", "failed", "unknown"])
def test_the_pool_recovers_no_call_that_ended_in_another_way(outcome):
    driver = pool()
    driver.beat(A, calls=(call(1),))
    driver.beat(A, ended=(Ended("r1", "AJ_1", outcome),))
    assert not driver.did(Recover)


def test_the_pool_recovers_nothing_of_a_worker_that_ended_as_asked_or_while_it_stops():
    driver = pool()
    driver.beat(A, calls=(call(1),))
    driver.beat(B, calls=(call(2),))
    driver.do(driver.pool.stop(driver.now))
    driver.do(driver.pool.exited(A, Exit(code=0), driver.now))
    driver.do(driver.pool.exited(B, Exit(signal=11), driver.now))
    assert not driver.did(Recover)
    assert (driver.pool.counts.ended, driver.pool.counts.lost) == (1, 1)


def test_a_retry_wakes_the_pool():
    driver = pool()
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.exited(A, Exit(signal=9), driver.now))
    driver.do(driver.pool.answered("AJ_1", NONE, driver.now))
    assert driver.pool.wake_at() == driver.now + PAUSE
    driver.tick(PAUSE)
    assert [each.attempt for each in driver.did(Recover)] == [1, 2]


def test_the_dead_workers_seat_is_filled_when_its_callers_have_new_agents():
    driver = pool()
    driver.beat(A, calls=(call(1), call(2)))
    spawned = len(driver.did(Spawn))
    driver.do(driver.pool.exited(A, Exit(signal=9), driver.now))
    driver.do(driver.pool.answered("AJ_1", CAME, driver.now + 0.3))
    assert len(driver.did(Spawn)) == spawned
    driver.do(driver.pool.answered("AJ_2", CAME, driver.now + 0.4))
    assert len(driver.did(Spawn)) == spawned + 1


@pytest.mark.parametrize("why", ["it takes too long", "an attempt has failed", "nobody else takes calls"])
def test_the_seat_is_filled_all_the_same_where(why):
    driver = pool()
    driver.beat(A, calls=(call(1),))
    if why == "nobody else takes calls":
        for ref in (B, Ref(2, 1)):
            driver.beat(ref, registered=False)
    spawned = len(driver.did(Spawn))
    driver.do(driver.pool.exited(A, Exit(signal=9), driver.now))
    if why == "it takes too long":
        driver.tick(CALLERS_FIRST)
    elif why == "an attempt has failed":
        driver.do(driver.pool.answered("AJ_1", NONE, driver.now))
    assert len(driver.did(Spawn)) == spawned + 1
