"""Seats shared by all processes of a host."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from mindbot_worker.voice import seats
from mindbot_worker.voice.seats import Seats


async def test_only_so_many_seats_are_taken_at_one_time(tmp_path: Path) -> None:
    at_once = most = 0

    async def request(place: Seats) -> None:
        nonlocal at_once, most
        ticket = await place.take()
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.03)
        at_once -= 1
        ticket.give_back()
        ticket.give_back()

    # two objects, as in two processes: the files are what they share
    await asyncio.gather(*(request(Seats(tmp_path, "openai", 3)) for _ in range(9)))
    assert most == 3


async def test_after_some_time_a_request_goes_ahead_without_a_seat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "_PATIENCE", 0.1)
    place = Seats(tmp_path, "openai", 1)
    held = await place.take()
    ticket = await asyncio.wait_for(place.take(), 5)
    ticket.give_back()
    held.give_back()


def test_a_killed_process_gives_its_seat_back(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, time\nfrom pathlib import Path\nfrom mindbot_worker.voice.seats import Seats\n"
        "ticket = asyncio.run(Seats(Path(sys.argv[1]), 'openai', 1).take())\nprint('taken', flush=True)\ntime.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"taken\n"
    place = Seats(tmp_path, "openai", 1)
    assert place._try() is None
    holder.kill()
    holder.wait(10)
    assert place._try() is not None


async def test_without_a_directory_there_is_no_limit(tmp_path: Path) -> None:
    for place in (Seats(None, "openai", 1), Seats(tmp_path / "gone", "openai", 1)):
        assert [await place.take() for _ in range(3)]
