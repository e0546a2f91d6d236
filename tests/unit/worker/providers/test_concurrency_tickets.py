"""The queue of byte locks: turns in the order of the tickets, and never more than there are seats."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindbot_worker.providers import concurrency_limit
from mindbot_worker.providers.concurrency_limit import Ticket, draw_ticket


def drawn(file: Path, count: int) -> list[Ticket]:
    tickets = [draw_ticket(file) for _ in range(count)]
    assert None not in tickets
    return tickets  # type: ignore[return-value]


def test_the_first_ones_have_their_turn(tmp_path: Path) -> None:
    tickets = drawn(tmp_path / "q", 5)
    assert [ticket.has_turn(2) for ticket in tickets] == [True, True, False, False, False]
    for ticket in tickets:
        ticket.give_back()


@given(count=st.integers(1, 4), leaving=st.lists(st.integers(0, 11), unique=True, max_size=12))
def test_whoever_leaves_in_whatever_order_it_is_the_turn_of_those_who_came_first(
    tmp_path_factory: pytest.TempPathFactory, count: int, leaving: list[int]
) -> None:
    tickets = drawn(tmp_path_factory.getbasetemp() / "many", 12)
    waiting = dict(enumerate(tickets))
    for number in leaving:
        waiting.pop(number).give_back()
        assert [each for each, ticket in waiting.items() if ticket.has_turn(count)] == sorted(waiting)[:count]
    for ticket in tickets:
        ticket.give_back()


def test_a_ticket_can_be_given_back_twice_without_harm_to_the_next(tmp_path: Path) -> None:
    first, second = drawn(tmp_path / "q", 2)
    first.give_back()
    third = draw_ticket(tmp_path / "q")
    first.give_back()
    assert third is not None and second.has_turn(1) and not third.has_turn(1)
    second.give_back()
    third.give_back()


def test_nobody_draws_while_somebody_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[Ticket | None] = []

    def now() -> int:
        monkeypatch.undo()
        inside.append(draw_ticket(tmp_path / "q"))
        return concurrency_limit.time.monotonic_ns()

    monkeypatch.setattr(concurrency_limit.time, "monotonic_ns", now)
    ticket = draw_ticket(tmp_path / "q")
    assert inside == [None] and ticket is not None
    ticket.give_back()


def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        draw_ticket(tmp_path / "gone" / "q")
