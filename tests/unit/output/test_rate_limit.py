"""Rates: what passes, what is only counted, and when that is told."""

from hypothesis import given
from hypothesis import strategies as st

from mindbot_config.output.rate_limit import DEBT_SECONDS, KEYS_MAX, TELL_EVERY, Bucket, RateLimits

RATE, BURST = 10.0, 100.0


def test_a_burst_passes_and_then_the_rate():
    bucket = Bucket(RATE, BURST)
    assert bucket.take(100, 0.0) == 100
    assert [bucket.take(1, at / 10) for at in range(2, 30)] == [1] * 28


def test_a_flood_gets_nothing_through_until_it_is_over():
    bucket = Bucket(RATE, BURST)
    assert bucket.take(1000, 0.0) == 100
    assert sum(bucket.take(1000, at / 10) for at in range(1, 600)) == 0
    assert bucket.take(1, 59.9 + DEBT_SECONDS + 0.2) == 1


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 500)), max_size=50))
def test_no_more_passes_than_burst_and_rate_allow(arrivals):
    bucket, now, passed = Bucket(RATE, BURST), 0.0, 0
    for wait, wanted in arrivals:
        now += wait
        passed += bucket.take(wanted, now)
    assert passed <= BURST + RATE * now + 1


def test_what_does_not_pass_is_counted_and_told_once_a_while():
    limits = RateLimits()
    passed = sum(limits.passes("a", RATE, BURST, 0.0) for _ in range(500))
    assert passed == 100 and limits.passes("b", RATE, BURST, 0.0)
    assert list(limits.over(TELL_EVERY - 0.1)) == []
    assert list(limits.over(TELL_EVERY)) == [("a", 400)]
    assert list(limits.over(TELL_EVERY + 1)) == []
    for _ in range(500):
        limits.passes("a", RATE, BURST, 30.0)
    assert list(limits.rest()) == [("a", 400)]


def test_the_table_is_bounded_and_forgets_who_is_quiet():
    limits = RateLimits()
    for key in range(KEYS_MAX * 2):
        limits.passes(key, RATE, BURST, 0.0)
    assert len(limits._flows) <= KEYS_MAX + 1
    list(limits.over(0.0))
    list(limits.over(1000.0))
    list(limits.over(2000.0))
    assert not limits._flows
