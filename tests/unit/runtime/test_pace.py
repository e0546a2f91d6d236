"""How several recoveries at once are spaced. Nothing here takes longer than a tenth of a second."""

import asyncio
import itertools
import time

from mindbot_supervisor.runtime.pace import JOIN_CPU, LONGEST, Pace


async def began(pace, calls):
    start = time.monotonic()
    times = []

    async def one():
        await pace.turn()
        times.append(time.monotonic() - start)

    await asyncio.gather(*(one() for _ in range(calls)))
    return times


async def test_one_call_waits_for_nothing():
    async with asyncio.timeout(JOIN_CPU / 2):
        await Pace(1).turn()


async def test_several_begin_one_after_the_other_as_the_cores_allow():
    times = await began(Pace(10), 4)
    apart = [after - before for before, after in itertools.pairwise(times)]
    assert len(apart) == 3
    assert all(each >= JOIN_CPU / 10 * 0.9 for each in apart)


async def test_a_turn_that_is_over_is_not_waited_for():
    pace = Pace(10)
    await began(pace, 2)
    await asyncio.sleep(JOIN_CPU / 10)
    async with asyncio.timeout(JOIN_CPU / 20):
        await pace.turn()


async def test_nobody_waits_for_longer_than_the_longest(monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = Pace(1)
    for _ in range(100):
        await pace.turn()
    assert max(waits) <= LONGEST


def test_many_look_less_often_each():
    pace = Pace(2)
    with pace.attempt(), pace.attempt():
        assert pace.between_looks(0.04) == 0.04
        with pace.attempt(), pace.attempt():
            assert pace.between_looks(0.04) == 0.08
    assert pace.between_looks(0.04) == 0.04
