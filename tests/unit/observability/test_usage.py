"""The daemon's book of what all workers use: totals, a line a minute, a word about a budget."""

from __future__ import annotations

from typing import Any

import pytest

from mindbot_config.sections.usage import Usage
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.observability.provider_usage import UsageBook
from mindbot_worker.protocol import heartbeat

A, B = Ref(0, 1), Ref(1, 1)


class Book:
    """A book, with what it wrote."""

    def __init__(self, **budgets: Any) -> None:
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.book = UsageBook(Usage(**budgets), lambda event, level, **fields: self.notes.append((event, fields)), 0.0)

    def beat(self, ref: Ref, now: float, provider: str = "openai", **counts: float) -> None:
        self.book.beat(ref, heartbeat.Beat(1, heartbeat.READY, usage={provider: counts}), now)

    def tick(self, now: float, day: int = 0, alive: tuple[Ref, ...] = (A, B)) -> list[tuple[str, dict[str, Any]]]:
        self.notes.clear()
        self.book.tick(now, day, alive)
        return list(self.notes)


def test_totals_are_of_all_workers_and_outlive_them() -> None:
    book = Book()
    book.beat(A, 1, requests=2)
    book.beat(A, 2, requests=5)
    book.beat(B, 2, requests=1, tokens_in=10)
    book.tick(100, alive=(B,))
    book.beat(Ref(0, 2), 101, requests=3)
    book.beat(B, 102, requests=1, tokens_in=10)
    assert book.book.totals() == {"openai": {"requests": 9, "tokens_in": 10}}


def test_there_is_a_line_a_minute_while_there_is_news() -> None:
    book = Book()
    book.beat(A, 1, requests=2)
    assert book.tick(59) == []
    assert book.tick(60) == [
        ("usage.report", {"used": {"openai": {"requests": 2}}, "total": {"openai": {"requests": 2}}})
    ]
    assert book.tick(120) == []
    book.beat(A, 130, requests=5)
    assert book.tick(180)[0][1]["used"] == {"openai": {"requests": 3}}


def test_requests_of_one_minute_are_compared_with_their_budget_and_told_once_per_breach() -> None:
    book = Book(openai_budget_requests_per_minute=10)
    book.beat(A, 1, requests=10)
    assert book.tick(2) == []
    book.beat(B, 3, requests=1)
    told = ("limit.warned", {"limit": "usage.openai_budget_requests_per_minute", "used": 11, "budget": 10})
    assert book.tick(4) == [told] and book.tick(5) == []
    assert not [note for note in book.tick(62) if note[0] == "limit.warned"]
    book.beat(A, 63, requests=30)
    assert [event for event, _ in book.tick(64)] == ["limit.warned"]


@pytest.mark.parametrize(
    ("budget", "provider", "below", "above"),
    [
        ({"openai_budget_tokens_per_day": 100}, "openai", {"tokens_in": 60, "tokens_out": 40}, {"tokens_in": 61}),
        (
            {"deepgram_budget_audio_hours_per_day": 1.5},
            "deepgram",
            {"audio_seconds": 5400},
            {"audio_seconds": 5401},
        ),
    ],
)
def test_a_day_has_its_own_count(
    budget: dict[str, float], provider: str, below: dict[str, float], above: dict[str, float]
) -> None:
    book = Book(**budget)
    book.beat(A, 1, provider, **below)
    assert book.tick(2, day=0) == []
    book.beat(A, 3, provider, **{**below, **above})
    assert [event for event, _ in book.tick(4, day=0)] == ["limit.warned"]
    assert not [note for note in book.tick(50, day=1) if note[0] == "limit.warned"]
    assert book.book.totals()[provider]


def test_after_an_upgrade_in_place_what_was_used_before_is_no_news() -> None:
    book = Book(openai_budget_requests_per_minute=10)
    book.book.resume([(A, {"openai": {"requests": 500}})])
    book.beat(A, 1, requests=501)
    assert book.tick(60) == [
        ("usage.report", {"used": {"openai": {"requests": 1}}, "total": {"openai": {"requests": 501}}})
    ]
