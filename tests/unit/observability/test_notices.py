"""Notices: what is told again, how they are signed, and how long a receiver may ask us to wait."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from mindbot_supervisor.observability.logging.repeat_filter import KEYS_MAX, Repeats
from mindbot_supervisor.observability.webhook import RETRY_AFTER_MAX, retry_after, sign


def test_the_same_again_within_the_window_is_counted_and_told_once_at_its_end() -> None:
    repeats = Repeats(60)
    assert repeats.is_new("a", {"n": 1}, 0.0)
    assert not repeats.is_new("a", {"n": 2}, 10.0)
    assert not repeats.is_new("a", {"n": 3}, 59.9)
    assert repeats.wake_at() == 60.0 and list(repeats.over(59.9)) == []
    assert list(repeats.over(60.0)) == [({"n": 3}, 2)]
    assert list(repeats.over(61.0)) == [] and repeats.wake_at() is None
    assert repeats.is_new("a", {"n": 4}, 61.0)


def test_what_came_only_once_is_not_told_again() -> None:
    repeats = Repeats(60)
    repeats.is_new("a", {}, 0.0)
    assert list(repeats.rest()) == []


def test_different_things_do_not_hide_each_other() -> None:
    repeats = Repeats(60)
    assert repeats.is_new("a", {}, 0.0) and repeats.is_new("b", {}, 0.0)


def test_a_flood_of_different_things_does_not_fill_the_memory() -> None:
    repeats = Repeats(60)
    assert all(repeats.is_new(n, {}, 0.0) for n in range(KEYS_MAX + 10))
    assert len(repeats._told) == KEYS_MAX


def test_the_signature_is_the_hmac_of_the_body() -> None:
    expected = hmac.new(b"secret", b"{}", hashlib.sha256).hexdigest()
    assert sign(b"{}", "secret") == f"sha256={expected}"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0.0),
        ("3", 3.0),
        ("100000", RETRY_AFTER_MAX),
        ("-3", 0.0),
        ("soon", 0.0),
        (format_datetime(datetime.fromtimestamp(1_000_010, UTC), usegmt=True), 10.0),
        (format_datetime(datetime.fromtimestamp(999_000, UTC), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, 1_000_000.0) == seconds
