"""What is done beside recoveries: LiveKit is asked which rooms exist, in bounded questions, and journals are swept."""

import asyncio

import pytest

from mindbot_supervisor.core.calls.recovery_state import Terms
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring.activities import Activity
from mindbot_supervisor.recovery import recovery_tasks
from mindbot_supervisor.recovery.livekit import ApiError
from mindbot_supervisor.recovery.recovery_tasks import ROOMS_AT_ONCE, ROOMS_EVERY, SWEEP_EVERY, Recoveries
from unit.core.build import Driver, call, policy


class Rescuer:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.fails = False
        self.warmed = self.swept = 0

    def start(self) -> None: ...

    def warm(self) -> None:
        self.warmed += 1

    def sweep(self) -> None:
        self.swept += 1

    async def rooms(self, names):
        self.asked.append(list(names))
        if self.fails:
            raise ApiError("livekit did not answer within 2 s")
        return set(names)

    async def close(self) -> None: ...


class Shell:
    """A pool with so many calls, and its recoveries."""

    def __init__(self, calls: int) -> None:
        self.driver = Driver(policy())
        self.driver.pool.recover_by(Terms(2, 5.0))
        self.tasks: set[asyncio.Task[None]] = set()
        self.recoveries = Recoveries(
            self.driver.pool, self.driver.do, self.begin, Activity("recovery", lambda *_: None)
        )
        self.rescuer = Rescuer()
        self.recoveries.employ(self.rescuer)
        self.calls = calls

    def begin(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        return task

    def fill(self) -> None:
        self.driver.fill()
        self.driver.beat(Ref(0, 1), calls=tuple(call(number) for number in range(self.calls)))

    async def tick(self, now: float) -> None:
        self.recoveries.tick(now)
        await asyncio.gather(*self.tasks)


async def test_nothing_is_loaded_nor_asked_before_the_first_worker_is_ready():
    shell = Shell(calls=1)
    await shell.tick(1.0)
    assert (shell.rescuer.warmed, shell.rescuer.asked) == (0, [])
    shell.fill()
    await shell.tick(2.0)
    assert (shell.rescuer.warmed, len(shell.rescuer.asked)) == (1, 1)


async def test_a_new_rescuer_is_warm_at_once_where_the_old_one_was():
    shell, other = Shell(calls=0), Rescuer()
    shell.fill()
    shell.recoveries.get_ready()
    shell.recoveries.employ(other)
    assert (shell.rescuer.warmed, other.warmed) == (1, 1)


async def test_rooms_are_asked_for_now_and_then_and_only_if_there_are_any():
    shell = Shell(calls=0)
    shell.fill()
    await shell.tick(0.0)
    assert shell.rescuer.asked == []
    shell.driver.beat(Ref(0, 1), calls=(call(1),))
    for second in range(60):
        await shell.tick(100.0 + second)
    assert len(shell.rescuer.asked) == 60 / ROOMS_EVERY
    assert "AJ_1" in shell.driver.pool.histories[Ref(0, 1)].rooms.listed


async def test_many_rooms_are_asked_for_in_turn():
    shell = Shell(calls=600)
    shell.fill()
    for number in range(4):
        await shell.tick(1000.0 * (number + 1))
    assert [len(names) for names in shell.rescuer.asked] == [ROOMS_AT_ONCE, ROOMS_AT_ONCE, 600 - 2 * ROOMS_AT_ONCE, 256]
    assert len({name for names in shell.rescuer.asked for name in names}) == 600


async def test_where_livekit_does_not_answer_nothing_is_known():
    shell = Shell(calls=1)
    shell.rescuer.fails = True
    shell.fill()
    await shell.tick(0.0)
    assert len(shell.rescuer.asked) == 1
    assert not shell.driver.pool.histories[Ref(0, 1)].rooms.listed


@pytest.mark.parametrize("ticks", [1, 10])
async def test_journals_are_swept_once_an_hour(monkeypatch, ticks):
    monkeypatch.setattr(recovery_tasks.time, "monotonic", lambda: 0.0)
    shell = Shell(calls=0)
    for number in range(ticks):
        await shell.tick(SWEEP_EVERY + number)
    assert shell.rescuer.swept == 1
