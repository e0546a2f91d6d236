"""Which memory counts as a leak, how early, and what it costs to know. Rates over many seeds: bench/leak_rates.py."""

from math import exp, inf, pi, sin
from random import Random

import pytest

from mindbot_supervisor.core.actions import Terminate
from mindbot_supervisor.core.health import memory_trend as trends
from mindbot_supervisor.core.health.history import WARM_UP
from mindbot_supervisor.core.health.memory_trend import LEVELS, POINTS, Trend
from mindbot_supervisor.core.health.rules.memory import leaking
from mindbot_supervisor.core.workers.model import Phase, Reason, Ref, Sample

from .build import Driver, call, policy, seen

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
POLICY = policy(limits={"memory_soft_mb": 300, "memory_hard_mb": 400})
WIDE = policy(limits={"memory_soft_mb": 2048, "memory_hard_mb": 4096})
A1, A2 = Ref(0, 1), Ref(0, 2)


def caught(mb, *, calls=lambda t: (), of=POLICY, until=DAY, every=10.0, noise=1.0) -> float:
    """Seconds until memory that goes as `mb(t)` is called a leak; infinite if it is not."""
    random, trend, now = Random(1), Trend(), WARM_UP
    while now < until:
        trend.calls(calls(now), now)
        size = mb(now) + random.gauss(0, noise)
        trend.see(size, size, now, 0.3)
        if leaking(seen(leak=trend.leak(of.memory_soft_mb)), of):
            return now
        now += every
    return inf


def one_call_each_ten_minutes(t: float) -> tuple[str, ...]:
    return (f"job {t // 600}",) if t % 600 < 120 else ()


def three_calls_at_any_time(t: float) -> tuple[str, ...]:
    return tuple(f"job {n}.{(t + n * 200) // 600}" for n in range(3 + (t // 300 % 2 == 0)))


@pytest.mark.parametrize(
    ("mb", "limit_at", "lead"),
    [
        (lambda t: 100 + t / MINUTE, 200 * MINUTE, 30 * MINUTE),
        (lambda t: 100 + 5 * t / MINUTE, 40 * MINUTE, 5 * MINUTE),
        (lambda t: 250 + 0.2 * t / MINUTE, 250 * MINUTE, 30 * MINUTE),
        (lambda t: 100 + 5 * max(t - 10 * HOUR, 0) / MINUTE, 640 * MINUTE, 5 * MINUTE),
        (lambda t: 100 + t / MINUTE + 30 * (t % 1800) / 1800, 180 * MINUTE, 15 * MINUTE),
        (lambda t: 100 + t / MINUTE + 20 * sin(t / 500), 180 * MINUTE, 10 * MINUTE),
    ],
    ids=["1 MiB/min", "5 MiB/min", "0.2 MiB/min", "begins after 10 hours", "under a sawtooth", "under a wave"],
)
def test_a_leak_is_found_well_before_the_limit_and_never_more_than_the_horizon_before_it(mb, limit_at, lead):
    at = caught(mb)
    assert limit_at - HOUR * 1.2 <= at <= limit_at - lead


def test_a_fast_leak_toward_a_far_limit_is_found_in_its_last_quarter():
    assert 1400 <= caught(lambda t: 100 + t, of=WIDE) <= 1700


@pytest.mark.parametrize(
    "mb",
    [
        lambda t: 280,
        lambda t: 60 + 150 * (1 - exp(-t / 600)),
        lambda t: 60 + 150 * (1 - exp(-t / 5000)),
        lambda t: 100 + 120 * (t % 1200) / 1200,
        lambda t: 100 + 120 * (t % 9000) / 9000,
        lambda t: 100 + 100 * (t > 3 * HOUR),
        lambda t: 100 + 20 * min(t // 1000, 5),
        lambda t: 180 + 60 * sin(2 * pi * t / HOUR),
        lambda t: 180 + 80 * sin(2 * pi * t / DAY),
        lambda t: 100 + 100 * (3 * HOUR < t < 4 * HOUR),
    ],
    ids=["flat", "plateau", "slow plateau", "sawtooth", "slow sawtooth", "step", "stairs", "wave", "daily", "bump"],
)
def test_what_stays_clear_of_the_limit_by_half_its_height_is_no_leak(mb):
    assert caught(mb, every=20) == inf


def test_noise_with_a_heavy_tail_is_no_leak():
    random = Random(2)
    assert caught(lambda t: 200 + min(random.paretovariate(1.2), 90), every=20) == inf


def test_a_call_that_takes_more_and_more_memory_is_no_leak():
    assert caught(lambda t: 100 + t / MINUTE, calls=lambda t: ("one",), until=190 * MINUTE) == inf


def test_memory_that_calls_take_and_give_back_is_no_leak_however_many_more_there_are_by_day():
    def calls(t: float) -> tuple[str, ...]:
        return tuple(f"job {n}.{(t + 37 * n) // 300}" for n in range(round(6 + 6 * sin(2 * pi * t / DAY))))

    assert caught(lambda t: 100 + 12 * len(calls(t)), calls=calls, every=20) == inf


@pytest.mark.parametrize("calls", [one_call_each_ten_minutes, three_calls_at_any_time])
def test_a_leak_is_found_among_calls_too(calls):
    at = caught(lambda t: 100 + t / MINUTE + 15 * len(calls(t)), calls=calls)
    assert 80 * MINUTE <= at <= 180 * MINUTE


def test_a_leak_beyond_the_horizon_is_known_and_not_acted_on():
    trend = Trend()
    for t in range(0, 6 * 3600, 10):
        trend.see(100 + t / 600, 130 + t / 600, float(t), 0.3)
    leak = trend.leak(1000)
    assert leak.mb_per_hour == pytest.approx(6, rel=0.01)
    assert leak.limit_in == pytest.approx((870 - 36) / 6 * HOUR, rel=0.05), "limits are of the whole tree"
    assert leaking(seen(leak=leak), POLICY) is None
    assert trend.leak(10_000).limit_in is None, "beyond any horizon"


def test_a_leaking_worker_is_drained_behind_a_replacement_before_its_limit():
    driver = Driver(policy(limits={"memory_soft_mb": 300, "memory_hard_mb": 400, "hung_after": 60}))
    driver.fill()
    while not driver.did(Terminate) and driver.now < 200 * MINUTE:
        for ref in driver.pool.workers:
            size = 100 + driver.now / MINUTE if ref == A1 else 100.0
            driver.do(driver.pool.sample(ref, Sample(size + 50, size, size + 90), driver.now))
        driver.run(10, step=10)
    assert driver.did(Terminate) == [Terminate(A1)]
    assert driver.pool.workers[A1].leaving.reason is Reason.LEAK
    assert driver.pool.workers[A2].phase is Phase.READY
    assert driver.now < 145 * MINUTE


def test_what_happens_while_a_worker_warms_up_says_nothing():
    driver = Driver(policy(limits={"hung_after": 60}))
    driver.fill()
    driver.do(driver.pool.sample(A1, Sample(1, 1, 1), driver.now))
    driver.run(WARM_UP - 10, step=5)
    assert driver.pool.histories[A1].trend == Trend()


def test_a_call_is_no_longer_settled_when_it_begins_or_ends():
    driver = Driver(policy(limits={"hung_after": 60}))
    driver.fill()
    driver.do(driver.pool.sample(A1, Sample(1, 1, 1), driver.now))
    driver.run(WARM_UP + 10, step=5)
    driver.run(trends.SETTLE - 5, step=5, calls=(call(),))
    assert driver.pool.histories[A1].trend._levels[0].open.calls == 0


def test_memory_of_memory_is_bounded():
    trend = Trend()
    for t in range(0, 30 * 86400, 60):
        trend.see(100 + t % 7, 100, float(t), 0.3)
    assert sum(len(level.points) for level in trend._levels) == LEVELS * POINTS


def test_a_thousand_workers_are_not_judged_at_the_same_tick(monkeypatch):
    judged = [0] * 241
    workers = [Trend() for _ in range(1000)]
    random, now = Random(3), 0
    rolls = [random.random() for _ in workers]

    def counted(points, older):
        judged[now] += 1  # each worker has up to eight levels

    monkeypatch.setattr(trends, "growth", counted)
    for now in range(241):
        for worker, roll in zip(workers, rolls, strict=True):
            worker.see(100.0, 100.0, float(now), roll)
    assert 0 < max(judged) < 100
