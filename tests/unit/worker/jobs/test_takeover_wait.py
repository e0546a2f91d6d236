"""A job that is to take a call over: outside of the room until the agent before it has left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace as Some
from typing import Any

import pytest

from mindbot_worker.jobs import takeover_wait
from mindbot_worker.jobs.takeover_wait import has_the_call
from mindbot_worker.protocol import heartbeat

OLD = "agent-AJ_1"
NAME = heartbeat.journal_name("r1", "AJ_1")


class Job:
    """A job context that was dispatched with `attributes`; `people` are in its room."""

    def __init__(self, people: tuple[str, ...] = (OLD, "caller"), **attributes: str) -> None:
        self.people, self.asked, self.ended = list(people), 0, [""]
        self.job = Some(id="AJ_2", room=Some(name="r1"), attributes=attributes)
        self.api = Some(room=self)
        self.told: asyncio.Future[Any] = asyncio.get_event_loop().create_future()
        process = Some(_shutdown_fut=self.told)
        self._on_shutdown = lambda _: process

    async def list_participants(self, _: Any) -> Any:
        self.asked += 1
        return Some(participants=[Some(identity=each) for each in self.people])

    def shutdown(self, reason: str) -> None:
        self.ended.append(reason)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(heartbeat.RUNTIME_DIR, str(tmp_path))
    (tmp_path / heartbeat.JOURNALS).mkdir()
    return tmp_path / heartbeat.JOURNALS / NAME


def waiting(**fields: Any) -> Job:
    return Job(**{heartbeat.JOURNAL: NAME, heartbeat.RECOVERS: "AJ_1", heartbeat.AFTER: OLD, **fields})


async def test_a_job_with_a_call_of_its_own_waits_for_nothing(journal: Path) -> None:
    for job in (Job(), Job(**{heartbeat.JOURNAL: NAME, heartbeat.RECOVERS: "AJ_1"})):
        assert await has_the_call(job)  # type: ignore[arg-type]


async def test_it_waits_until_the_journal_has_its_name(journal: Path) -> None:
    job = waiting()
    turn = asyncio.create_task(has_the_call(job))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert not turn.done()
    journal.touch()  # noqa: ASYNC240
    assert await asyncio.wait_for(turn, 5)
    assert (job.asked, len(job.ended)) == (0, 1)


async def test_on_another_host_the_room_tells(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover_wait, "ASK_AFTER", 0.0)
    monkeypatch.setattr(takeover_wait, "ASK_EVERY", 0.01)
    job = waiting()
    turn = asyncio.create_task(has_the_call(job))  # type: ignore[arg-type]
    while job.asked < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert not turn.done()
    job.people.remove(OLD)
    assert await asyncio.wait_for(turn, 5)


@pytest.mark.parametrize("how", ["called off", "forgotten"])
async def test_it_leaves_without_the_call_where_nobody_gives_it_one(
    journal: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    job = waiting()
    if how == "called off":
        job.told.set_result(None)
    else:
        monkeypatch.setattr(takeover_wait, "PATIENCE", 0.05)
    assert not await has_the_call(job)  # type: ignore[arg-type]
    assert job.ended[1:] == ["the call was not handed over"]
