"""A host under pressure: who leaves first, and whose silence is excused."""

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Kill
from mindbot_supervisor.core.health.host_pressure import Host, shortage
from mindbot_supervisor.core.workers.model import Exit, Phase, Reason, Ref, Sample

from .build import Driver, call, policy

A1, B1, C1 = Ref(0, 1), Ref(1, 1), Ref(2, 1)
SHORT = Host(memory_full=0.0, available_mb=200.0, total_mb=10_000.0)
FINE = Host(cpu_some=5.0, memory_full=0.0, available_mb=5000.0, total_mb=10_000.0)
STARVED = Host(cpu_some=95.0, memory_full=0.0, available_mb=5000.0, total_mb=10_000.0)


def full(**sections) -> Driver:
    driver = Driver(policy(**sections))
    driver.fill()
    return driver


def weigh(driver: Driver, **megabytes: float) -> None:
    for name, size in megabytes.items():
        ref = {"a": A1, "b": B1, "c": C1}[name]
        driver.do(driver.pool.sample(ref, Sample(size, size, size), driver.now))


def under(driver: Driver, host: Host, seconds: float, **run) -> None:
    for _ in range(int(seconds)):
        driver.do(driver.pool.host(host, driver.now))
        driver.run(1, **run)


@pytest.mark.parametrize(
    ("host", "short"),
    [
        (Host(), False),
        (Host(memory_full=9.9), False),
        (Host(memory_full=10.0), True),
        (Host(available_mb=499.0, total_mb=10_000.0), True),
        (Host(available_mb=501.0, total_mb=10_000.0), False),
        (Host(available_mb=299.0, total_mb=2000.0), True),
        (Host(available_mb=1100.0, total_mb=500_000.0), False),
    ],
)
def test_memory_is_short_below_a_share_of_the_host_within_bounds(host, short):
    assert (shortage(host) is not None) is short


def test_while_memory_is_short_the_least_busy_worker_that_grew_most_leaves_first():
    driver = full()
    weigh(driver, a=100, b=100, c=100)
    weigh(driver, a=400, b=200, c=300)
    driver.beat(A1, calls=(call(),))
    for _ in range(6):
        driver.do(driver.pool.host(SHORT, driver.now))
        driver.tick(1)
        driver.beat(A1, calls=(call(),))
        driver.beat(B1)
        driver.beat(C1)
    assert driver.pool.workers[C1].leaving.reason is Reason.PRESSURE
    assert driver.pool.workers[A1].leaving is None, "it has a call"
    (warned,) = driver.told(log_events.LIMIT_WARNED)
    assert (warned.worker, warned.fields["value"]) == (C1, 200.0)
    assert "grown by 200 MiB" in warned.fields["detail"]


def test_one_at_a_time_leaves_and_the_next_only_after_a_while():
    driver = full(pool={"max_unavailable": 3})
    weigh(driver, a=100, b=100, c=100)
    weigh(driver, a=400, b=200, c=300)
    under(driver, SHORT, 10)
    assert driver.pool.workers[A1].phase is Phase.DRAINING
    assert driver.pool.workers[C1].leaving is None
    driver.do(driver.pool.exited(A1, Exit(code=0), driver.now))
    under(driver, SHORT, 20)
    assert driver.pool.workers[C1].leaving is None
    under(driver, SHORT, 15)
    assert driver.pool.workers[C1].leaving.reason is Reason.PRESSURE


def test_nobody_leaves_who_would_give_nothing_back():
    driver = full()
    weigh(driver, a=100, b=100, c=100)
    weigh(driver, a=149, b=149, c=149)
    under(driver, SHORT, 20)
    assert {driver.pool.workers[ref].leaving for ref in (A1, B1, C1)} == {None}


def test_a_short_peak_moves_nobody():
    driver = full()
    weigh(driver, a=100, b=100, c=100)
    weigh(driver, a=400, b=100, c=100)
    for _ in range(5):
        under(driver, SHORT, 4)
        under(driver, FINE, 1)
    assert driver.pool.workers[A1].leaving is None


def test_leaving_under_pressure_says_nothing_against_the_slot():
    driver = full()
    weigh(driver, a=100)
    weigh(driver, a=400)
    under(driver, SHORT, 10)
    assert driver.pool.workers[A1].phase is Phase.DRAINING
    assert driver.pool.slots[0].streak == 0


def test_on_a_starved_host_several_late_workers_are_not_hung_and_that_is_said_once():
    driver = full()
    under(driver, STARVED, 25, silent=(A1, B1))
    assert not driver.did(Kill)
    (held,) = driver.told(log_events.POOL_HELD)
    assert held.fields["reason"] == "host_starved"
    assert "2 workers" in held.fields["detail"]
    assert "95 %" in held.fields["detail"]
    under(driver, FINE, 3)
    assert len(driver.told(log_events.POOL_RELEASED)) == 1
    assert set(driver.pool.workers) == {A1, B1, C1}


def test_patience_with_a_starved_host_ends():
    driver = full()
    under(driver, STARVED, 36, silent=(A1, B1))  # two of three at once: their silence begins anew after 3 s
    assert driver.did(Kill, A1)
    assert driver.did(Kill, B1)


def test_one_alone_that_is_late_is_hung_however_busy_the_host():
    driver = full()
    under(driver, STARVED, 12, silent=(A1,))
    assert driver.did(Kill, A1)


def test_several_late_workers_on_an_idle_host_are_hung():
    driver = full()
    under(driver, FINE, 15, silent=(A1, B1))  # two of three at once: their silence begins anew after 3 s
    assert driver.did(Kill, A1)
    assert driver.did(Kill, B1)


def test_a_supervisor_that_runs_late_itself_excuses_others():
    driver = full()
    for _ in range(8):
        driver.now += 0.7
        driver.run(1, silent=(A1, B1))
    assert not driver.did(Kill)
    assert driver.pool.brake.hold.reason is Reason.HOST_STARVED


def test_starvation_excuses_silence_and_no_other_hard_reason():
    driver = full(limits={"memory_soft_mb": 200, "memory_hard_mb": 300})
    under(driver, STARVED, 11, silent=(A1, B1))
    weigh(driver, a=301)
    driver.tick()
    assert driver.told(log_events.WORKER_KILLING, A1)
    assert not driver.did(Kill, B1)
