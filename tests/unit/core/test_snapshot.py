"""What goes from one daemon to the next at an upgrade: by way of a file, whole, and bounded."""

from dataclasses import fields

import pytest
from pydantic import TypeAdapter

from mindbot_config.output import strict_json
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Recover, Spawn
from mindbot_supervisor.core.calls.recovery import OVERDUE
from mindbot_supervisor.core.calls.recovery_state import Failed, Recovered, Terms
from mindbot_supervisor.core.health.history import ERRORS_KEPT, History
from mindbot_supervisor.core.health.host_pressure import Host
from mindbot_supervisor.core.health.memory_trend import LEVELS, POINTS
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.core.workers import snapshot
from mindbot_supervisor.core.workers.model import Exit, Reason, Ref, Sample

from .build import Driver, call, policy

A, A2, B = Ref(0, 1), Ref(0, 2), Ref(1, 1)
FILE = TypeAdapter(snapshot.Snapshot)
TERMS = Terms(2, 5.0)
CRASH = Exit(signal=11)


def upgraded(driver: Driver, seconds: float = 1.0) -> tuple[Pool, Effects]:
    """The next daemon's pool, so many seconds later, and what its first tick brings."""
    handed = FILE.validate_python(
        strict_json.loads(strict_json.dumps(FILE.dump_python(snapshot.take(driver.pool), mode="json")))
    )
    driver.now += seconds
    pool = Pool(driver.pool.policy, driver.now)
    pool.recover_by(TERMS if driver.pool.recovery is not None else None)
    snapshot.put(pool, handed, driver.now)
    driver.pool = pool
    return pool, driver.do(pool.tick(driver.now))


def pool(**sections) -> Driver:
    driver = Driver(policy(**sections))
    driver.pool.recover_by(TERMS)
    driver.fill()
    return driver


def alone(driver: Driver) -> None:
    """A's only call has lost its agent."""
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.exited(A, CRASH, driver.now))


def attempts(effects: Effects) -> list[Recover]:
    return [action for action in effects.actions if isinstance(action, Recover)]


def test_every_field_of_a_history_goes_along():
    driver = Driver()
    driver.fill()
    history = driver.pool.histories[A]
    driver.beat(A, calls=(call(1, beat_age=0.5, gone=1.0),), errors_total=3, errors_by={"llm": 3}, registered=False)
    history.provider_errors.append((1.0, 2))
    history.provider_errors_seen = 2
    driver.do(driver.pool.sample(A, Sample(10.0, 9.0, 11.0, 99.0), driver.now))
    driver.do(driver.pool.beat_rejected(A, "not JSON", driver.now))
    driver.do(driver.pool.beats_dropped(A, 7, driver.now))
    history.thread_at = history.cpu_over_since = history.anew = 1.5
    fresh = History(born=-1.0)
    same = [each.name for each in fields(History) if getattr(history, each.name) == getattr(fresh, each.name)]
    assert same == [], "the test gives every field a value of its own"
    found, _ = upgraded(driver, 0.0)
    assert found.histories[A] == history


def test_a_leak_is_still_known_after_an_upgrade_and_its_trend_stays_bounded():
    driver = Driver(policy(limits={"memory_soft_mb": 1000, "memory_hard_mb": 2000, "hung_after": 60}))
    driver.fill()
    trend = driver.pool.histories[A].trend
    for second in range(0, 4 * 24 * 3600, 30):
        trend.see(100 + second / 3600, 100 + second / 3600, 100.0 + second, 0.5)
    before = trend.leak(1000)
    assert before is not None
    found, _ = upgraded(driver)
    kept = found.histories[A].trend
    assert kept.leak(1000) == before
    assert [level.points.maxlen for level in kept._levels] == [POINTS] * LEVELS
    assert found.histories[A].errors.maxlen == ERRORS_KEPT
    assert len(FILE.dump_json(snapshot.take(found))) < 40_000


def test_an_attempt_under_way_is_begun_anew_in_what_is_left_of_its_time():
    driver = pool()
    alone(driver)
    found, effects = upgraded(driver, 2.0)
    (recover,) = attempts(effects)
    assert (recover.call.job, recover.attempt, recover.seconds) == ("AJ_1", 1, TERMS.deadline - 2.0)
    (told,) = [change for change in effects.changes if change.event == log_events.CALL_RECOVERING]
    assert told.fields["detail"] == "begun anew by the upgraded supervisor"
    driver.do(found.answered("AJ_1", Recovered("agent"), driver.now))
    assert driver.told(log_events.CALL_RECOVERED)[0].fields["seconds"] == 2.0
    assert found.counts.recovered == 1, "counted where the status looks"


def test_upgrades_one_after_the_other_give_an_attempt_no_more_time():
    driver = pool()
    alone(driver)
    for left in (4.0, 3.0, 2.0, 1.0):
        _, effects = upgraded(driver)
        assert attempts(effects)[0].seconds == left
    _, effects = upgraded(driver)
    assert not attempts(effects)
    assert driver.told(log_events.CALL_RECOVERING)[-1].fields["detail"] == "the upgrade took what was left of its time"
    driver.tick(1.0)
    assert driver.did(Recover)[-1].attempt == 2


def test_a_pause_between_two_attempts_goes_on_and_the_room_keeps_its_record():
    driver = pool()
    alone(driver)
    driver.do(driver.pool.answered("AJ_1", Failed("no agent came"), driver.now))
    found, effects = upgraded(driver)
    (second,) = attempts(effects)
    assert (second.attempt, second.seconds) == (2, TERMS.deadline)
    driver.do(found.answered("AJ_1", Failed("no agent came"), driver.now))
    assert found.counts.lost == 1
    assert found.recovery.left("AJ_1"), "late news of the call say nothing"
    assert found.recovery.open.deaths == {"r1": (3.0,)}


def test_a_call_whose_new_agent_was_seen_to_start_is_recovered():
    driver = pool()
    alone(driver)
    driver.beat(B, calls=(call(2, room="r1"),))
    found, effects = upgraded(driver)
    assert not attempts(effects)
    assert found.counts.recovered == 1
    assert driver.told(log_events.CALL_RECOVERED)[0].fields["by"] == str(B)


def test_a_call_whose_old_agent_still_has_it_is_moved_anew():
    driver = pool()
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.restart([0], driver.now, hurry=True))
    driver.tick(1)
    driver.beat(A2)
    driver.tick(1)
    driver.beat(B, calls=(call(2, room="r1"),))
    assert driver.pool.has_successor("AJ_1")
    found, effects = upgraded(driver)
    (again,) = attempts(effects)
    assert (again.call.job, again.moved) == ("AJ_1", True)
    assert not found.has_successor("AJ_1"), "that agent waits for a sign which nobody gives any more"
    _, effects = upgraded(driver, seconds=10.0)
    assert [(each.call.job, each.moved) for each in attempts(effects)] == [("AJ_1", True)], (
        "nobody was silent meanwhile"
    )
    assert not driver.told(log_events.CALL_LOST)


def test_an_attempt_that_nobody_answers_for_ends_by_the_clock_after_an_upgrade_too():
    driver = pool()
    alone(driver)
    found, _ = upgraded(driver)
    driver.tick(TERMS.deadline + OVERDUE)
    assert found.recovery.cases["AJ_1"].due is not None


def test_a_hurried_restart_still_moves_the_calls_after_an_upgrade():
    driver = pool()
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.restart([0], driver.now, hurry=True))
    driver.tick(1)
    upgraded(driver)
    driver.beat(A2)
    driver.tick(1)
    assert [action.call.job for action in driver.did(Recover)] == ["AJ_1"]


def test_the_hosts_pressure_still_finds_who_has_grown():
    driver = pool()
    driver.do(driver.pool.sample(A, Sample(100, 100, 100), driver.now))
    upgraded(driver)
    driver.do(driver.pool.sample(A, Sample(300, 300, 300), driver.now))
    for _ in range(8):
        driver.do(driver.pool.host(Host(memory_full=50.0), driver.now))
        driver.run(1)
    assert driver.pool.workers[A].leaving.reason is Reason.PRESSURE


def test_nobody_is_blamed_after_an_upgrade_for_what_all_had_before():
    driver = pool()
    for ref in (A, B):
        driver.beat(ref, errors_total=20, errors_by={"llm": 20})
    driver.tick()
    driver.pool.brake.by_operator = True  # nobody is excused anew from here on
    before = driver.pool.brake.excused(A)
    assert set(before) == {Reason.ERRORS}
    found, _ = upgraded(driver)
    assert found.brake.excused(A) == before


def test_a_worker_that_was_still_being_started_is_started_anew():
    driver = pool()
    driver.pool.exited(A, CRASH, driver.now)
    assert driver.pool.workers[A2].pid is None
    found, effects = upgraded(driver)
    assert effects.actions == (Spawn(Ref(0, 3)),)
    assert A2 not in found.workers


@pytest.mark.parametrize("there", ["before", "after"])
def test_recovery_that_only_one_of_the_two_has_is_no_obstacle(there):
    driver = pool()
    alone(driver)
    if there == "after":
        driver.pool.recover_by(None)
    handed = snapshot.take(driver.pool)
    fresh = Pool(driver.pool.policy, driver.now)
    fresh.recover_by(TERMS if there == "after" else None)
    snapshot.put(fresh, handed, driver.now)
    assert not attempts(fresh.tick(driver.now))
