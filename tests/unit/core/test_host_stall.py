"""Where the whole host stood still nobody was silent; who stays silent afterwards is hung like anybody."""

from __future__ import annotations

import pytest

from mindbot_supervisor.core.actions import Kill, KillJob, LookAtJob
from mindbot_supervisor.core.health.host_stall import Voice, _largest_group
from mindbot_supervisor.core.pool import Pool as WorkerPool
from mindbot_supervisor.core.workers import snapshot
from mindbot_supervisor.core.workers.model import Phase, Ref

from .build import Driver, call, policy

A, B, C = Ref(0, 1), Ref(1, 1), Ref(2, 1)


def driver(workers: int = 3, **limits: object) -> Driver:
    pool = Driver(policy(pool={"workers": workers}, limits=limits))
    pool.fill()
    return pool


def frozen(pool: Driver, seconds: float) -> None:
    """Nothing runs, the supervisor neither; then it is the first to go on."""
    pool.tick(seconds)


def test_a_supervisor_that_did_not_run_itself_blames_nobody():
    pool = driver()
    frozen(pool, 15.0)
    (told,) = pool.told("host.stalled")
    assert (told.level, told.worker, told.fields["seconds"]) == ("warning", None, 14.0)
    assert "the supervisor itself" in told.fields["detail"]
    assert not pool.did(Kill)
    assert not pool.told("worker.suspect")
    pool.run(5)
    assert {worker.phase for worker in pool.pool.workers.values()} == {Phase.READY}


def test_beats_of_jobs_that_come_late_after_it_are_no_silence_either():
    pool = driver()
    pool.run(3, calls=(call(1, pid=501, beat_age=0.5),))
    frozen(pool, 15.0)
    pool.now += 0.3
    pool.beat(A, calls=(call(1, pid=501, beat_age=15.2),))
    pool.tick(0.7)
    assert not pool.did(LookAtJob)
    pool.run(3, calls=(call(1, pid=501, beat_age=0.5),))
    assert not pool.did(KillJob)
    assert not pool.told("call.stalled")


@pytest.mark.parametrize("beats_first", [True, False])
def test_the_same_if_the_workers_are_heard_before_the_supervisor_looks(beats_first):
    pool = driver()
    pool.run(3, calls=(call(1, pid=501, beat_age=0.5),))
    pool.now += 15.0
    if beats_first:
        for ref in (A, B, C):
            pool.beat(ref, calls=(call(ref.slot, pid=501, beat_age=15.4),))
    pool.tick()
    pool.tick(1.0)
    assert not pool.did(Kill)
    assert not pool.did(LookAtJob)


def test_who_stays_silent_after_a_stall_is_hung():
    pool = driver()
    frozen(pool, 15.0)
    pool.run(9, silent=(A,))
    assert not pool.did(Kill)
    pool.run(4, silent=(A,))
    assert [action.ref for action in pool.did(Kill)] == [A]


def test_a_supervisor_that_stalls_again_and_again_still_finds_who_is_hung():
    pool = driver()
    for _ in range(8):
        pool.run(4, silent=(A,))
        frozen(pool, 6.0)
    assert A in [action.ref for action in pool.did(Kill)]
    assert {action.ref for action in pool.did(Kill)} == {A}


def test_when_most_processes_fall_silent_within_one_beat_the_host_was_stalled():
    pool = driver()
    pool.run(4, silent=(A, B))
    (told,) = pool.told("host.stalled")
    assert "2 of 3 processes fell silent at the same time" in told.fields["detail"]
    assert not pool.told("worker.suspect")
    pool.run(5, silent=(A, B))
    assert len(pool.told("host.stalled")) == 1, "once: they were not heard since"
    assert not pool.did(Kill)
    pool.run(8, silent=(A, B))
    assert {action.ref for action in pool.did(Kill)} == {A, B}, "hung_after still applies"


def test_half_of_them_is_not_most():
    pool = driver(workers=2)
    pool.run(12, silent=(A,))
    assert not pool.told("host.stalled")
    assert pool.did(Kill, A)


def test_a_pool_of_one_is_no_crowd():
    pool = driver(workers=1)
    pool.run(12, silent=(A,))
    assert not pool.told("host.stalled")
    assert pool.did(Kill, A)


def test_those_that_fall_silent_one_after_the_other_are_each_hung():
    pool = driver()
    pool.run(5, silent=(A,))
    pool.run(12, silent=(A, B))
    assert not pool.told("host.stalled")
    assert {A, B} <= {action.ref for action in pool.did(Kill)}


def test_jobs_count_as_processes():
    pool = driver(workers=1)
    ages = [0.5, 1.5, 2.5, 3.5, 4.5]
    for age in ages:
        pool.now += 1
        pool.beat(A, calls=(call(1, pid=501, beat_age=age), call(2, pid=502, beat_age=age)))
        pool.tick()
    assert "2 of 3 processes" in pool.told("host.stalled")[0].fields["detail"]
    assert not pool.did(LookAtJob)
    for more in range(1, 12):
        pool.now += 1
        pool.beat(A, calls=(call(1, pid=501, beat_age=4.5 + more), call(2, pid=502, beat_age=4.5 + more)))
        pool.tick()
    assert len(pool.told("host.stalled")) == 1
    assert pool.did(LookAtJob), "who stays silent is stalled like anybody"


def test_a_worker_that_stopped_with_all_its_jobs_is_one_silent_worker():
    pool = driver(workers=2)
    pool.run(3, calls=(call(1, pid=501, beat_age=0.5), call(2, pid=502, beat_age=0.5)))
    pool.run(13, silent=(A,))
    assert not pool.told("host.stalled")
    assert pool.did(Kill, A)
    assert not pool.did(KillJob)


def test_a_late_tick_that_is_shorter_than_a_suspicion_is_forgiven_without_a_word():
    pool = driver(suspect_after=5.0, hung_after=8.0)
    pool.run(4, silent=(A,))
    frozen(pool, 4.5)
    assert not pool.told("host.stalled")
    assert not pool.did(Kill)


def test_an_upgrade_is_no_stall_of_the_host_and_nobody_was_silent_meanwhile():
    pool = driver()
    pool.run(3, calls=(call(1, pid=501, beat_age=0.5),))
    handed = snapshot.take(pool.pool)
    pool.now += 14.0
    fresh = WorkerPool(pool.pool.policy, pool.now)
    snapshot.put(fresh, handed, pool.now)
    pool.pool = fresh
    pool.tick()
    assert not pool.told("host.stalled")
    assert not pool.did(Kill)
    assert not pool.told("worker.suspect")
    pool.run(5)
    assert {worker.phase for worker in pool.pool.workers.values()} == {Phase.READY}
    frozen(pool, 15.0)
    assert pool.told("host.stalled"), "the next late tick is one"


def test_one_worker_that_says_its_many_jobs_fell_silent_again_and_again_excuses_nobody_else():
    pool = driver()
    for second in range(30):
        pool.now += 1
        jobs = tuple(call(n, pid=500 + n, beat_age=0.0 if second % 5 == 0 else second % 5 + 0.5) for n in range(50))
        pool.beat(A, calls=jobs)
        if B in pool.pool.workers:
            pool.beat(B)
        pool.tick()
    assert not pool.told("host.stalled")
    assert pool.did(Kill, C)


def test_the_largest_group_is_found_wherever_it_is():
    silences = [0.1, 3.0, 3.2, 9.0, 9.4, 9.9, 15.0]
    voices = [Voice(A, silence, True) for silence in silences]
    assert [voice.silence for voice in _largest_group(voices, 1.0)] == [9.0, 9.4, 9.9]
    assert _largest_group([], 1.0) == []
