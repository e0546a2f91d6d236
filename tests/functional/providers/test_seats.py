"""Seats shared by real processes: never one too many, first come first served, and free when their holder is killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mindbot_worker.providers.concurrency_limit import ConcurrencyLimit as Seats
from mindbot_worker.providers.usage_meter import UsageMeter as Meter

VISITOR = Path(__file__).with_name("visitor.py")
SEATS = 5


class Visitor:
    """One process that takes seats once it is told to."""

    def __init__(self, folder: Path, requests: int, within: float, lasting: float) -> None:
        words = [str(folder), str(SEATS), str(requests), str(within), str(lasting)]
        self.process = subprocess.Popen(
            [sys.executable, str(VISITOR), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.next("ready")

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def next(self, what: str) -> Any:
        assert self.process.stdout is not None
        while True:
            told = json.loads(self.process.stdout.readline())
            if what in told:
                return told[what]

    def visits(self) -> list[list[float]]:
        assert self.process.stdout is not None
        told = [json.loads(line) for line in self.process.stdout]
        assert self.process.wait(60) == 0
        return [each["visit"] for each in told if "visit" in each]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Callable[..., Visitor]]:
    started: list[Visitor] = []

    def start(requests: int, within: float = 0.0, lasting: float = 600.0) -> Visitor:
        started.append(Visitor(tmp_path, requests, within, lasting))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def most_at_once(visits: list[list[float]]) -> int:
    changes = sorted([(taken, 1) for _, taken, _ in visits] + [(left, -1) for _, _, left in visits])
    at_once = most = 0
    for _, change in changes:
        at_once += change
        most = max(most, at_once)
    return most


def test_12_processes_keep_the_limit_and_the_order(visitor: Callable[..., Visitor]) -> None:
    visitors = [visitor(5, 0.2, 0.1) for _ in range(12)]
    for each in visitors:
        each.begin()
    visits = [visit for each in visitors for visit in each.visits()]
    assert len(visits) == 60 and most_at_once(visits) == SEATS
    came = sorted(visits)
    served = sorted(visits, key=lambda visit: visit[1])
    displaced = [abs(came.index(visit) - place) for place, visit in enumerate(served)]
    assert max(displaced) <= len(visits) / 10, displaced
    waited = [taken - asked for asked, taken, _ in visits]
    assert max(waited) > 0.5  # else nobody had to queue, and nothing was shown


def test_the_places_of_a_killed_process_are_free_at_once(visitor: Callable[..., Visitor], tmp_path: Path) -> None:
    holder, others = visitor(2), visitor(3)
    place = Seats(tmp_path, "openai", SEATS, Meter())

    async def take_two() -> float:
        seats = await asyncio.gather(place.take(), place.take())
        for seat in seats:
            seat.give_back()
        return time.monotonic()

    async def wait_and_kill() -> float:
        waiting = asyncio.create_task(take_two())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        holder.process.kill()
        killed = time.monotonic()
        return await asyncio.wait_for(waiting, 30) - killed

    for each, seats in ((holder, 2), (others, 3)):
        each.begin()
        for _ in range(seats):
            each.next("taken")
    assert asyncio.run(wait_and_kill()) < 1


def test_a_killed_one_that_waits_keeps_nobody_from_the_turn(visitor: Callable[..., Visitor], tmp_path: Path) -> None:
    place = Seats(tmp_path, "openai", SEATS, Meter())

    async def main() -> None:
        held = [await place.take() for _ in range(SEATS)]
        waiting = visitor(3)
        waiting.begin()
        waiting.next("asked")
        behind = asyncio.create_task(place.take())
        await asyncio.sleep(0.1)
        waiting.process.kill()
        held[0].give_back()
        await asyncio.wait_for(behind, 10)

    asyncio.run(main())
