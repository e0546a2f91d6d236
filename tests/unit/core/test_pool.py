"""The pool as a whole: facts in, spawns, signals and words out."""

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import DumpStacks, GiveUp, Kill, Spawn, Terminate, Withdraw
from mindbot_supervisor.core.policy import MEMORY_STACK_GRACE
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import Exit, Phase, Reason, Ref, Sample
from mindbot_worker.protocol.heartbeat import Ended, Failure

from .build import Driver, beat, call, policy

A1, A2, A3, B1, C1 = Ref(0, 1), Ref(0, 2), Ref(0, 3), Ref(1, 1), Ref(2, 1)
CRASH = Exit(code=1)


def full(**sections) -> Driver:
    driver = Driver(policy(**sections))
    driver.fill()
    assert driver.pool.ready == 3
    return driver


def test_every_seat_is_filled_and_each_worker_reported_ready():
    driver = full()
    assert [action.ref for action in driver.did(Spawn)] == [A1, B1, C1]
    assert len(driver.told(log_events.WORKER_READY)) == 3


def test_the_start_is_staggered_but_a_slow_one_holds_nobody_up_for_long():
    driver = Driver(policy(pool={"max_starting": 1}))
    driver.tick()
    assert len(driver.did(Spawn)) == 1
    driver.tick(4.9)
    assert len(driver.did(Spawn)) == 1
    driver.tick(0.2)
    assert len(driver.did(Spawn)) == 2


def test_a_first_crash_is_answered_at_once_and_the_second_after_a_wait():
    driver = full()
    effects = driver.do(driver.pool.exited(A1, CRASH, driver.now))
    assert effects.actions == (Spawn(A2),), "with the very fact of its end, not at the next tick"
    assert driver.pool.wake_at() is None
    driver.beat(A2)
    driver.do(driver.pool.exited(A2, CRASH, driver.now))
    assert A3 not in driver.pool.workers
    assert driver.pool.wake_at() == driver.now + 0.5
    driver.tick(0.5)
    assert A3 in driver.pool.workers


def test_after_a_healthy_stretch_a_crash_is_a_first_one_again():
    driver = full()
    for generation in range(1, 5):
        effects = driver.do(driver.pool.exited(Ref(0, generation), CRASH, driver.now))
        assert effects.actions == (Spawn(Ref(0, generation + 1)),)
        assert not driver.told(log_events.SLOT_BACKOFF)
        driver.run(driver.pool.policy.restart.healthy_after + 2)


def test_a_shell_that_asks_while_it_carries_out_signals_nobody_who_does_not_run_yet():
    """The first of three spawns is done, and before the others are, the operator stops the pool."""
    pool, now = Pool(policy(), 0.0), 0.0
    spawns = pool.tick(now).actions
    assert spawns == (Spawn(A1), Spawn(B1), Spawn(C1))
    assert pool.spawned(A1, 1, now, 0.5).actions == ()
    assert pool.stop(now).actions == (Terminate(A1), Withdraw(B1), Withdraw(C1))
    assert pool.spawned(B1, 2, now, 0.5).actions == (Terminate(B1),)
    (exited,) = pool.exited(C1, Exit(code=0), now).changes
    assert exited.fields["verdict"] == "asked", "it was withdrawn"
    assert set(pool.workers) == {A1, B1}


@pytest.mark.parametrize("ask", ["drain", "scale"])
def test_a_spawn_that_fails_after_it_was_no_longer_wanted_is_no_failure(ask):
    driver = full()
    pool = driver.pool
    pool.scale(4, driver.now)
    new = Ref(3, 1)
    assert pool.workers[new].pid is None
    driver.do(pool.drain([3], driver.now) if ask == "drain" else pool.scale(3, driver.now))
    driver.do(pool.spawn_failed(new, "cannot start x: no such file", driver.now, 0.5))
    assert new not in pool.workers
    assert (3 in pool.slots) is (ask == "drain")
    assert not driver.told(log_events.SLOT_BACKOFF)
    assert pool.restarts == {}


def test_exit_0_that_nobody_asked_for_is_a_crash():
    driver = full()
    driver.do(driver.pool.exited(A1, Exit(code=0), driver.now))
    (told,) = driver.told(log_events.WORKER_EXITED, A1)
    assert (told.fields["verdict"], told.level) == ("crashed", "error")
    assert driver.pool.slots[0].streak == 1


def test_a_crash_takes_nothing_from_its_siblings():
    driver = full()
    for _ in range(60):
        for ref in [ref for ref in driver.pool.workers if ref.slot == 0]:
            driver.do(driver.pool.exited(ref, Exit(signal=11), driver.now))
        driver.run(1)
    assert {driver.pool.workers[ref].phase for ref in (B1, C1)} == {Phase.READY}
    assert driver.pool.slots[0].parked
    assert driver.told(log_events.SLOT_PARKED)


def test_a_parked_slot_is_tried_again_and_forgiven_when_healthy():
    driver = full()
    for generation in range(1, 6):
        driver.run(20)
        driver.do(driver.pool.exited(Ref(0, generation), CRASH, driver.now))
    assert driver.pool.slots[0].parked
    driver.run(61)
    assert driver.told(log_events.SLOT_RETRIED)
    driver.run(31)
    assert not driver.pool.slots[0].parked
    assert driver.pool.slots[0].streak == 0


def test_late_news_of_a_dead_generation_finds_nobody():
    driver = full()
    driver.do(driver.pool.exited(A1, CRASH, driver.now))
    before = dict(driver.pool.workers)
    driver.do(driver.pool.beat(A1, beat(99), driver.now))
    driver.do(driver.pool.exited(A1, CRASH, driver.now))
    driver.do(driver.pool.beat_rejected(A1, "x", driver.now))
    assert driver.pool.workers == before


def test_a_soft_reason_replaces_before_it_stops():
    driver = full()
    driver.beat(A1, errors_total=11, errors_by={"llm": 11})
    driver.tick(1)
    assert driver.pool.workers[A1].phase is Phase.READY, "it serves until its replacement is ready"
    assert A2 in driver.pool.workers
    assert not driver.did(Terminate)
    driver.beat(A2)
    assert driver.did(Terminate) == [Terminate(A1)]
    assert driver.pool.workers[A1].phase is Phase.DRAINING
    (warned,) = driver.told(log_events.LIMIT_WARNED)
    assert (warned.fields["reason"], warned.fields["value"], warned.fields["limit"]) == ("errors", 11, 10)


def test_what_a_provider_did_restarts_nobody_and_is_said_once():
    driver = full()
    for _ in range(30):
        driver.beat(A1, errors_total=20, errors_by={"llm": 20}, errors_of_providers=20)
        driver.run(1, silent=(A1,))
    (warned,) = driver.told(log_events.LIMIT_WARNED)
    assert (warned.fields["reason"], warned.fields["value"], warned.fields["limit"]) == ("errors", 20, 10)
    assert warned.fields["detail"] == "llm 20; 20 of a provider"
    assert set(driver.pool.workers) == {A1, B1, C1} and not driver.did(Terminate)
    driver.beat(A1, errors_total=31, errors_by={"llm": 20, "job": 11}, errors_of_providers=20)
    driver.tick(1)
    assert A2 in driver.pool.workers, "its own are counted all the same"


def test_one_worker_at_a_time_leaves_by_our_own_choice():
    driver = full(limits={"max_age": 60})
    for _ in range(300):
        driver.run(1)
        for ref, worker in list(driver.pool.workers.items()):
            if worker.phase is Phase.DRAINING:
                driver.do(driver.pool.exited(ref, Exit(code=0), driver.now))
        assert driver.pool.ready >= 3
        assert sum(worker.leaving is not None and worker.serving for worker in driver.pool.workers.values()) <= 1
    assert min(ref.generation for ref in driver.pool.workers) > 1


def test_a_draining_workers_seat_is_filled_beside_it():
    driver = full()
    driver.beat(A1, "draining", calls=(call(),))
    assert driver.pool.workers[A1].phase is Phase.DRAINING
    assert A2 in driver.pool.workers


def test_a_fault_that_most_workers_share_restarts_nobody_and_is_said_once():
    driver = full()
    for ref in (A1, B1):
        driver.beat(ref, errors_total=20, errors_by={"llm": 20})
    driver.run(30, errors_total=20)
    assert [change.fields["reason"] for change in driver.told(log_events.POOL_HELD)] == ["errors"]
    assert set(driver.pool.workers) == {A1, B1, C1}
    driver.run(300, errors_total=20)
    assert len(driver.told(log_events.POOL_RELEASED)) == 1
    assert set(driver.pool.workers) == {A1, B1, C1}


def test_an_outage_of_livekit_restarts_nobody_and_is_said_once_with_its_cause():
    driver = full()
    driver.run(300, registered=False, problem="livekit refused the credentials (401)")
    (held,) = driver.told(log_events.POOL_HELD)
    assert held.fields["detail"] == "livekit refused the credentials (401)"
    assert set(driver.pool.workers) == {A1, B1, C1}
    driver.run(5)
    assert len(driver.told(log_events.POOL_RELEASED)) == 1


def test_the_last_to_be_registered_again_after_an_outage_has_all_the_time_that_a_worker_has():
    driver = full()
    driver.run(300, registered=False, problem="livekit cannot be reached")
    for _ in range(89):
        driver.beat(A1, registered=False, problem="livekit cannot be reached")
        driver.run(1, silent=(A1,))
    assert set(driver.pool.workers) == {A1, B1, C1}
    assert not driver.told(log_events.LIMIT_WARNED, A1)
    assert len(driver.told(log_events.POOL_RELEASED)) == 1
    for _ in range(3):
        driver.beat(A1, registered=False, problem="livekit cannot be reached")
        driver.run(1, silent=(A1,))
    assert driver.pool.workers[A1].leaving.reason is Reason.UNREGISTERED


def test_a_worker_that_alone_is_not_registered_is_replaced():
    driver = full()
    for _ in range(95):
        driver.beat(A1, registered=False)
        driver.run(1, silent=(A1,))
    assert A2 in driver.pool.workers
    assert driver.pool.workers[A1].leaving.reason is Reason.UNREGISTERED


def test_hard_reasons_act_even_while_the_pool_is_held():
    driver = full()
    driver.run(20, registered=False, problem="down")
    assert driver.pool.brake.hold is not None
    driver.run(12, registered=False, problem="down", silent=(A1,))
    assert Kill(A1) in driver.actions


def test_a_silent_worker_is_suspect_then_hung_then_killed_and_its_seat_filled():
    driver = full()
    driver.run(12, silent=(A1,))
    assert driver.told(log_events.WORKER_SUSPECT, A1)
    assert driver.told(log_events.WORKER_KILLING, A1)
    assert driver.did(Kill, A1)
    assert A2 in driver.pool.workers


def test_a_hung_worker_with_a_call_is_killed_when_its_replacement_is_ready():
    driver = full()
    driver.beat(A1, calls=(call(),))
    driver.run(11, silent=(A1, A2))
    assert driver.pool.workers[A1].phase is Phase.KILLING
    assert A2 in driver.pool.workers
    assert not driver.did(Kill)
    driver.beat(A2)
    driver.run(2, silent=(A1,))
    assert driver.did(Kill, A1)


def test_nobody_is_hung_when_the_supervisor_itself_did_not_run():
    driver = full()
    driver.tick(60)
    assert not driver.did(Kill)
    driver.run(5)
    assert driver.pool.ready == 3


def test_memory_over_the_hard_limit_is_answered_at_once_and_the_kill_waits_for_nothing_but_the_stacks():
    driver = full(limits={"memory_soft_mb": 200, "memory_hard_mb": 300})
    driver.do(driver.pool.sample(A1, Sample(301, 301, 301), driver.now))
    driver.tick()
    assert A2 in driver.pool.workers
    assert driver.did(DumpStacks) == [DumpStacks(A1)]
    assert driver.pool.wake_at() == driver.now + MEMORY_STACK_GRACE
    driver.tick(MEMORY_STACK_GRACE)
    assert driver.did(Kill, A1)


def test_the_end_of_a_call_tells_what_it_was_like():
    driver = full()
    driver.beat(A1, calls=(call(1), call(2), call(3)))
    like = {"turns": 3, "response_p95": 0.9, "audio": "good"}
    ended = (Ended("r1", "AJ_1", "completed", like), Ended("r2", "AJ_2", "failed", like), Ended("r3", "AJ_3"))
    driver.beat(A1, ended=ended)
    told = [change.fields.get("summary") for change in driver.told(log_events.CALL_ENDED)]
    assert told == [like, None]
    assert [change.fields["summary"] for change in driver.told(log_events.CALL_LOST)] == [like]


def test_calls_are_told_when_they_start_and_end_and_counted_by_outcome():
    driver = full()
    driver.beat(A1, calls=(call(1), call(2), call(3)))
    driver.beat(A1, calls=(call(3),), ended=(Ended("r1", "AJ_1", "completed"), Ended("r2", "AJ_2", "failed")))
    assert [change.fields["room"] for change in driver.told(log_events.CALL_STARTED)] == ["r1", "r2", "r3"]
    assert [change.fields["room"] for change in driver.told(log_events.CALL_ENDED)] == ["r1"]
    assert [change.fields["room"] for change in driver.told(log_events.CALL_LOST)] == ["r2"]
    driver.do(driver.pool.exited(A1, Exit(signal=9), driver.now))
    assert [change.fields["room"] for change in driver.told(log_events.CALL_LOST)] == ["r2", "r3"]
    assert (driver.pool.counts.ended, driver.pool.counts.lost) == (1, 2)
    (exited,) = driver.told(log_events.WORKER_EXITED, A1)
    assert (exited.fields["verdict"], exited.fields["signal"], exited.fields["calls"]) == ("signal", "SIGKILL", 1)


def test_calls_that_our_own_kill_ends_are_counted_as_cut():
    driver = full()
    driver.beat(A1, calls=(call(1),))
    driver.do(driver.pool.stop_now(driver.now))
    driver.do(driver.pool.exited(A1, Exit(signal=9), driver.now))
    assert (driver.pool.counts.cut_by_us, driver.pool.counts.lost) == (1, 0)


def test_doubled_and_reordered_beats_change_nothing():
    driver = full()
    driver.do(driver.pool.beat(A1, beat(1000, calls=(call(1),)), driver.now))
    driver.do(driver.pool.beat(A1, beat(1000), driver.now))
    driver.do(driver.pool.beat(A1, beat(999), driver.now))
    assert driver.pool.active_calls == 1


def test_an_unreadable_beat_is_counted_and_many_in_a_row_make_the_worker_broken():
    driver = full()
    for _ in range(19):
        driver.do(driver.pool.beat_rejected(A1, "not JSON", driver.now))
    driver.beat(A1)
    driver.tick()
    assert set(driver.pool.workers) == {A1, B1, C1}, "one good beat clears the row"
    for _ in range(20):
        driver.do(driver.pool.beat_rejected(A1, "not JSON", driver.now))
    driver.tick()
    assert driver.pool.workers[A1].leaving.reason is Reason.BROKEN
    assert len(driver.told(log_events.BEAT_REJECTED)) < 10, "a flood of garbage is not a flood of lines"


def test_stop_tells_everybody_once_and_replaces_nobody():
    driver = full()
    driver.beat(A1, calls=(call(),))
    driver.do(driver.pool.stop(driver.now))
    driver.do(driver.pool.stop(driver.now))
    assert sorted(action.ref for action in driver.did(Terminate)) == [A1, B1, C1]
    spawns = len(driver.did(Spawn))
    driver.do(driver.pool.exited(B1, Exit(code=0), driver.now))
    driver.do(driver.pool.exited(C1, Exit(signal=11), driver.now))
    driver.run(20, calls=(call(),))
    assert len(driver.did(Spawn)) == spawns
    assert driver.pool.workers[A1].phase is Phase.DRAINING, "its call goes on"


@pytest.mark.parametrize(
    ("asked", "verdict"), [(Exit(code=0), "asked"), (Exit(signal=15), "asked"), (CRASH, "crashed")]
)
def test_how_a_drained_worker_ended_is_told_from_how_it_exited(asked, verdict):
    driver = full()
    driver.do(driver.pool.stop(driver.now))
    driver.do(driver.pool.exited(A1, asked, driver.now))
    assert driver.told(log_events.WORKER_EXITED, A1)[0].fields["verdict"] == verdict


def test_settings_with_which_no_worker_can_start_end_the_daemon_with_the_workers_words():
    driver = Driver()
    driver.tick()
    for ref in (A1, B1, C1):
        assert not driver.did(GiveUp)
        driver.do(driver.pool.beat(ref, beat(1, "starting", failure=Failure(78, "no module named x")), driver.now))
        driver.do(driver.pool.exited(ref, Exit(code=78), driver.now))
    assert driver.did(GiveUp) == [GiveUp(78, "no module named x")]


def test_a_pool_that_ever_ran_never_ends_because_of_its_workers():
    driver = full()
    for _ in range(200):
        for ref in list(driver.pool.workers):
            driver.do(driver.pool.exited(ref, Exit(code=78), driver.now))
        driver.tick(10)
    assert not driver.did(GiveUp)
    assert driver.pool.wake_at() is not None or driver.pool.workers


def test_one_bad_slot_among_good_ones_is_no_reason_to_give_up():
    driver = Driver()
    driver.tick()
    driver.do(driver.pool.exited(A1, Exit(code=78), driver.now))
    driver.beat(B1)
    driver.do(driver.pool.exited(C1, Exit(code=78), driver.now))
    driver.run(5)
    assert not driver.did(GiveUp)
    assert {ref.slot for ref in driver.pool.workers} == {0, 1, 2}


def test_a_worker_that_cannot_be_started_is_tried_again_with_patience():
    driver = full()
    driver.do(driver.pool.exited(A1, CRASH, driver.now))
    driver.do(driver.pool.spawn_failed(A2, "cannot start x: no such file", driver.now, 0.5))
    assert driver.told(log_events.SLOT_BACKOFF)
    driver.tick(1)
    assert A3 in driver.pool.workers


def test_a_job_that_a_beat_names_twice_is_one_call():
    driver = full()
    driver.beat(A1, calls=(call(1), call(1)))
    assert (driver.pool.active_calls, len(driver.told(log_events.CALL_STARTED))) == (1, 1)
    driver.beat(A1)
    assert driver.pool.counts.ended == 1


@pytest.mark.parametrize("ask", ["drain", "stop"])
def test_nothing_is_due_for_a_seat_that_will_not_be_filled(ask):
    driver = full()
    driver.do(driver.pool.exited(A1, CRASH, driver.now))
    driver.do(driver.pool.exited(A2, CRASH, driver.now))
    assert driver.pool.wake_at() == driver.now + 0.5
    driver.do(driver.pool.drain([0], driver.now) if ask == "drain" else driver.pool.stop(driver.now))
    assert driver.pool.wake_at() is None, "or the shell would wake up all the time"


def test_an_agent_that_can_never_work_ends_the_first_start_at_once_and_nothing_later():
    driver = Driver(policy())
    driver.tick()
    effects = driver.do(driver.pool.agent_failed("cannot import the agent module 'x'", driver.now))
    assert effects.actions == (GiveUp(78, "cannot import the agent module 'x'"),)
    driver = full()
    assert driver.do(driver.pool.agent_failed("half a deployment", driver.now)).actions == ()
    driver = Driver(policy())
    driver.do(driver.pool.stop(driver.now))
    assert driver.do(driver.pool.agent_failed("too late", driver.now)).actions == ()


def test_a_pool_that_gives_up_lets_the_workers_of_a_dead_daemon_finish_their_calls():
    driver = Driver(policy())
    leftover = Ref(1, 4)
    driver.do(driver.pool.adopt(leftover, 4711, driver.now, termed=True))
    driver.tick()
    driver.do(driver.pool.agent_failed("cannot import the agent module 'x'", driver.now))
    effects = driver.do(driver.pool.give_up(driver.now))
    assert {action.ref for action in effects.actions} == {A1, Ref(1, 5), C1}
    assert driver.pool.workers[leftover].phase is Phase.DRAINING
