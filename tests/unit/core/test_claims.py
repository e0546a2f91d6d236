"""One worker's word against another's: what is contested is told, and nothing is done about it."""

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Forget, Recover
from mindbot_supervisor.core.calls.claims import Claims
from mindbot_supervisor.core.calls.evidence import ListedJob
from mindbot_supervisor.core.calls.recovery_state import Contested, Recovered, Terms
from mindbot_supervisor.core.workers.model import Exit, Ref
from mindbot_worker.protocol.heartbeat import KILLED, Ended

from .build import Driver, call, policy

HONEST, LIAR = Ref(0, 1), Ref(1, 1)
THEIRS = call(1, identity="agent-1", pid=77)


@pytest.fixture
def driver():
    made = Driver(policy(pool={"workers": 2}))
    made.pool.recover_by(Terms(attempts=2, deadline=5.0))
    made.fill()
    made.beat(HONEST, calls=(THEIRS,))
    return made


@pytest.mark.parametrize(
    "claimed",
    [
        pytest.param(call(1, identity="agent-1", pid=88), id="all of it"),
        pytest.param(call(1), id="the job"),
        pytest.param(call(1, room="another", identity="other"), id="the job in another room"),
        pytest.param(call(1, job="AJ_made_up", identity="agent-1"), id="the agent in the room"),
    ],
)
@pytest.mark.parametrize("end", ["dies", "says that its job was killed", "drops it"])
def test_a_call_that_another_living_worker_has_is_neither_recovered_nor_counted(driver, claimed, end):
    driver.beat(LIAR, calls=(claimed,))
    (told,) = driver.told(log_events.CALL_CONTESTED)
    assert (told.worker, told.fields["rival"], told.fields["room"]) == (LIAR, "0.1", claimed.room)
    if end == "dies":
        driver.do(driver.pool.exited(LIAR, Exit(signal=9), driver.now))
    else:
        ended = (Ended(claimed.room, claimed.job, KILLED),) if end != "drops it" else ()
        driver.beat(LIAR, calls=(), ended=ended)
    driver.tick(1.0)
    assert not driver.did(Recover) and not driver.did(Forget)
    assert len(driver.told(log_events.CALL_STARTED)) == 1
    assert not driver.told(log_events.CALL_ENDED) and not driver.told(log_events.CALL_LOST)
    assert driver.pool.active_calls == 1


def test_it_is_told_once_however_often_it_is_said(driver):
    for _ in range(20):
        driver.beat(LIAR, calls=(THEIRS,))
        driver.beat(HONEST, calls=(THEIRS,))
    assert len(driver.told(log_events.CALL_CONTESTED)) == 1


def test_who_named_it_first_and_dies_has_it_not_recovered_either_as_the_other_lives(driver):
    driver.beat(LIAR, calls=(THEIRS,))
    driver.do(driver.pool.exited(HONEST, Exit(signal=9), driver.now))
    assert not driver.did(Recover) and not driver.did(Forget)
    assert len(driver.told(log_events.CALL_CONTESTED)) == 2
    driver.beat(LIAR, calls=(THEIRS,))
    assert driver.pool.settled(LIAR) == (THEIRS,), "nobody else has it now"


def test_a_contested_call_is_waited_for_all_the_same(driver):
    driver.beat(LIAR, calls=(THEIRS,))
    assert driver.pool.people_on(LIAR) == 1


def test_a_call_that_the_other_no_longer_names_is_its_own_again(driver):
    driver.beat(LIAR, calls=(THEIRS,))
    driver.beat(HONEST, calls=())
    driver.beat(LIAR, calls=(THEIRS,))
    assert [change.worker for change in driver.told(log_events.CALL_STARTED)] == [HONEST, LIAR]
    driver.do(driver.pool.exited(LIAR, Exit(signal=9), driver.now))
    assert driver.did(Recover)


def test_an_identity_that_changes_later_is_looked_at_again(driver):
    driver.beat(LIAR, calls=(call(9),))
    driver.beat(LIAR, calls=(call(9, room="r1", identity="agent-1"),))
    assert driver.told(log_events.CALL_CONTESTED)


def test_two_agents_of_one_room_are_no_contest(driver):
    driver.beat(LIAR, calls=(call(2, room="r1", identity="agent-2"),))
    assert not driver.told(log_events.CALL_CONTESTED)
    driver.do(driver.pool.exited(LIAR, Exit(signal=9), driver.now))
    assert driver.did(Recover)


def test_calls_without_an_identity_are_known_by_their_jobs_alone(driver):
    for ref, number in ((HONEST, 5), (LIAR, 6)):
        driver.beat(ref, calls=(call(number, room="same"),))
    assert not driver.told(log_events.CALL_CONTESTED)


def test_the_new_agent_of_a_moved_call_may_have_the_identity_of_the_old_one(driver):
    driver.do(driver.pool.restart([0], driver.now, hurry=True))
    driver.tick(1.0)
    fresh = next(ref for ref in driver.pool.workers if ref == Ref(0, 2))
    driver.beat(fresh)
    driver.tick(1.0)
    driver.beat(HONEST, state="draining", calls=(THEIRS,))
    driver.tick(1.0)
    (recover,) = driver.did(Recover)
    assert recover.moved
    driver.beat(fresh, calls=(call(7, room="r1", identity="agent-1"),))
    assert not driver.told(log_events.CALL_CONTESTED)
    assert driver.pool.has_successor("AJ_1")
    driver.do(driver.pool.answered("AJ_1", Recovered("agent-1"), driver.now))
    driver.beat(fresh, calls=(call(7, room="r1", identity="agent-1"),))
    driver.beat(HONEST, state="draining", calls=(THEIRS,))
    assert not driver.told(log_events.CALL_CONTESTED)


def test_an_answer_that_it_is_contested_closes_the_case_and_removes_nothing(driver):
    driver.do(driver.pool.exited(HONEST, Exit(signal=9), driver.now))
    driver.do(driver.pool.answered("AJ_1", Contested("to LiveKit its agent is that of another job, AJ_2"), driver.now))
    (told,) = driver.told(log_events.CALL_CONTESTED)
    assert "AJ_2" in told.fields["detail"]
    assert not driver.did(Forget) and not driver.pool.recovery.cases
    assert driver.pool.counts.ended == 1
    driver.tick(10.0)
    assert len(driver.did(Recover)) == 1


# -- what LiveKit lists ------------------------------------------------------------------------------------------------


@pytest.fixture
def lost(driver):
    """The call of HONEST is lost; LIAR lives, and has a call elsewhere."""
    driver.beat(LIAR, worker_id="AW_liar", calls=(call(2, identity="agent-2"),))
    driver.do(driver.pool.exited(HONEST, Exit(signal=9), driver.now))
    return driver


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        pytest.param([], "", id="nothing is listed"),
        pytest.param([ListedJob("AJ_1", "agent-1", "AW_dead")], "", id="it is the dead one's"),
        pytest.param([ListedJob("AJ_1", "agent-1", "AW_liar")], "a job of worker 1.1", id="a living one's job"),
        pytest.param([ListedJob("AJ_1", "agent-1", "AW_liar", running=False)], "", id="a job that has ended"),
        pytest.param([ListedJob("AJ_7", "agent-1")], "of another job, AJ_7", id="the agent of another job"),
        pytest.param([ListedJob("AJ_7", "agent-1", running=False)], "", id="of one that has ended"),
        pytest.param([ListedJob("AJ_1", "agent-1"), ListedJob("AJ_7", "agent-7")], "", id="another agent beside it"),
    ],
)
def test_livekits_list_must_agree_on_who_is_dead(lost, listed, words):
    found = lost.pool.speaks_against("AJ_1", listed)
    assert words in found and bool(found) == bool(words)


@pytest.mark.parametrize(
    ("listed", "contested"),
    [([], True), ([ListedJob("AJ_2", "agent-2")], True), ([ListedJob("AJ_1"), ListedJob("AJ_2")], False)],
)
def test_where_a_living_worker_has_a_call_in_the_room_livekit_must_know_the_lost_one(driver, listed, contested):
    driver.beat(LIAR, calls=(call(2, room="r1", identity="agent-2"),))
    driver.do(driver.pool.exited(HONEST, Exit(signal=9), driver.now))
    assert bool(driver.pool.speaks_against("AJ_1", listed)) == contested


def test_nothing_is_known_of_claims_once_all_are_gone():
    claims = Claims()
    for number in range(50):
        claims.hear(Ref(number, 1), [call(number), call(1, identity="a")], lambda _: False)
    for number in range(50):
        claims.forget(Ref(number, 1))
    assert not claims._held and not claims._jobs and not claims._agents and not claims._contested


def test_where_nothing_is_recovered_a_contested_call_is_no_lost_one():
    driver = Driver(policy(pool={"workers": 2}))
    driver.fill()
    for ref in (HONEST, LIAR):
        driver.beat(ref, calls=(THEIRS,))
    driver.do(driver.pool.exited(HONEST, Exit(signal=9), driver.now))
    assert not driver.told(log_events.CALL_LOST)
    assert (driver.pool.counts.lost, driver.pool.counts.ended) == (0, 1)


def test_a_move_that_was_contested_is_not_tried_again(driver):
    driver.do(driver.pool.restart([0], driver.now, hurry=True))
    for _ in range(30):
        driver.now += 1.0
        for ref in list(driver.pool.workers):
            driver.beat(ref, calls=(THEIRS,) if ref == HONEST else ())
        driver.tick()
        for action in driver.did(Recover):
            driver.do(driver.pool.answered(action.call.job, Contested("LiveKit says so"), driver.now))
    assert len(driver.did(Recover)) == len(driver.told(log_events.CALL_CONTESTED)) == 1
    assert driver.pool.active_calls == 1


@pytest.mark.parametrize("recovered", [True, False])
def test_a_killed_job_that_another_living_worker_names_is_neither_lost_nor_counted_twice(driver, recovered):
    if not recovered:
        driver.pool.recover_by(None)
    driver.beat(LIAR, calls=(THEIRS,))
    driver.beat(HONEST, calls=(), ended=(Ended("r1", "AJ_1", KILLED),))
    assert not driver.did(Recover) and not driver.told(log_events.CALL_LOST)
    assert (driver.pool.counts.lost, driver.pool.counts.ended) == (0, 1)


def test_the_agent_that_the_dead_one_took_over_from_speaks_against_nothing(lost):
    lost.do(lost.pool.answered("AJ_1", Recovered("agent-1"), lost.now))
    lost.beat(LIAR, calls=(call(5, room="r1", identity="agent-1"),))
    lost.do(lost.pool.exited(LIAR, Exit(signal=9), lost.now))
    assert "AJ_5" in lost.pool.recovery.cases
    assert lost.pool.speaks_against("AJ_5", [ListedJob("AJ_1", "agent-1"), ListedJob("AJ_5", "agent-1")]) == ""
