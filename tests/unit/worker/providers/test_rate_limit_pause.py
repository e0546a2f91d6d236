"""How long a provider is left alone after it asked for fewer requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindbot_worker.providers.rate_limit_pause import LONGEST, RateLimitPause, asks_to_wait, retry_after


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["shared", "alone"])
def holding(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> RateLimitPause:
    return RateLimitPause(tmp_path if request.param == "shared" else None, "openai-gpt", clock)


def test_the_time_that_was_asked_for_is_kept(holding: RateLimitPause, clock: Clock) -> None:
    assert holding.remaining() == 0
    assert holding.refused(clock.now, 12) == 12
    clock.now += 10
    assert holding.remaining() == 2
    clock.now += 3
    assert holding.remaining() == 0


def test_other_processes_keep_it_and_other_models_do_not(tmp_path: Path, clock: Clock) -> None:
    RateLimitPause(tmp_path, "openai-a/b", clock).refused(clock.now, 12)
    assert RateLimitPause(tmp_path, "openai-a/b", clock).remaining() == 12
    assert RateLimitPause(tmp_path, "openai-b", clock).remaining() == 0


def test_no_hold_is_longer_than_a_minute(holding: RateLimitPause, clock: Clock) -> None:
    assert holding.refused(clock.now, 86400) == LONGEST


def test_where_no_time_is_named_holds_grow_until_an_answer_comes(holding: RateLimitPause, clock: Clock) -> None:
    lasted = []
    for _ in range(8):
        lasted.append(holding.refused(clock.now, None))
        clock.now += holding.remaining() + 0.1
    assert lasted == [1, 2, 4, 8, 16, 32, 60, 60]
    holding.accepted(clock.now)
    assert holding.refused(clock.now + 0.1, None) == 1


def test_a_wave_of_refusals_counts_once(holding: RateLimitPause, clock: Clock) -> None:
    sent = clock.now
    clock.now += 0.5
    assert [holding.refused(sent, None) for _ in range(5)] == [1, None, None, None, None]
    holding.accepted(sent)  # an answer to what was sent before says nothing of what is now
    clock.now += 2
    assert holding.refused(clock.now, None) == 2


def test_a_shorter_wish_ends_no_hold(holding: RateLimitPause, clock: Clock) -> None:
    holding.refused(clock.now, 20)
    assert holding.refused(clock.now, 5) is None and holding.refused(clock.now, 0) is None
    assert holding.remaining() == 20


@given(content=st.binary(max_size=40))
def test_a_file_with_anything_in_it_holds_nobody_for_long(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "x.hold").write_bytes(content)
    assert 0 <= RateLimitPause(folder, "x", Clock()).remaining() <= LONGEST


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_what_an_answer_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, lambda: 60.0) == seconds


def test_an_outage_is_no_wish_for_rest() -> None:
    assert asks_to_wait(429, {}) and asks_to_wait(503, {"retry-after": "1"})
    assert not asks_to_wait(503, {}) and not asks_to_wait(500, {"retry-after": "1"})
