"""Whatever is killed, again and again, under live calls: the pool is whole each time, and nothing is left behind."""

import asyncio
import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Self

import psutil
import pytest

from functional.daemon import Daemon
from live.caller import Caller, calling
from live.livekit import Server, local  # noqa: F401 (a fixture)
from live.supervised import LAUNCHER, START, answered, ready, supervised

KILLS = int(os.environ.get("CHAOS_KILLS", "10"))
pytestmark = [pytest.mark.live, pytest.mark.timeout(300 + 20 * KILLS)]
WORKERS, CALLS = 3, 2
ENOUGH = 8
"""Deaths in one room; `recovery.attempts` is 10 here."""
SOCKETS = 6
"""Connections that the daemon may keep open for a while: to LiveKit's API, and to those who asked for its status."""
VICTIMS = ("worker", "worker", "job", "template", "jobserver")


def victim(daemon: Daemon, kind: str) -> int:
    """The pid of one such process; 0 while there is none."""
    status = daemon.status()
    template = status["supervisor"].get("template", {"pid": 0})["pid"]
    if kind == "template":
        return template
    if kind == "jobserver":
        return child_of(template, "mindbot-jobs")
    rows = [row for row in status["workers"] if row["phase"] in ("ready", "draining") and row["pid"]]
    if kind == "worker":  # one that drains may keep a call for ever
        return random.choice(rows)["pid"] if rows else 0
    jobs = [call["pid"] for row in rows for call in row["calls"] if call["pid"]]
    return random.choice(jobs) if jobs else 0


def noticed(daemon: Daemon, pid: int, kind: str, template: int) -> bool:
    """Whether the daemon knows by now that this one is gone."""
    status = daemon.status()
    if kind in ("template", "jobserver"):
        return status["supervisor"].get("template", {}).get("pid") != template
    return pid not in {each["pid"] for row in status["workers"] for each in (row, *row["calls"])}


def child_of(pid: int, name: str) -> int:
    try:
        return next((each.pid for each in psutil.Process(pid).children() if each.name() == name), 0)
    except psutil.NoSuchProcess:
        return 0


def whole(daemon: Daemon, rooms: list[str]) -> bool:
    """All workers ready and registered, a template there to fork from, and an agent in every room."""
    status = daemon.status()
    rows = [row for row in status["workers"] if row["phase"] == "ready" and row["registered"]]
    served = {call["room"] for row in status["workers"] for call in row["calls"]}
    return bool(len(rows) == WORKERS and status["supervisor"].get("template", {}).get("ready") and set(rooms) <= served)


def fds(daemon: Daemon) -> Counter[str]:
    """Its descriptors, counted by kind; not what the sampler reads at this moment."""
    kinds = Counter()
    for entry in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            kinds[re.sub(r"\d+", "N", str(entry.readlink()))] += 1
    return Counter({kind: count for kind, count in kinds.items() if not kind.startswith(("/proc", "/sys"))})


def pss(pid: int) -> float:
    return psutil.Process(pid).memory_full_info().pss / 1024 / 1024


class Callers:
    """CALLS of them, who stay on the line. One whose agents died too often calls anew, or the room is quarantined."""

    def __init__(self, daemon: Daemon, server: Server) -> None:
        self._daemon, self._server = daemon, server
        self._called = 0
        self._on_line: dict[str, AbstractAsyncContextManager[Caller]] = {}

    @property
    def rooms(self) -> list[str]:
        return list(self._on_line)

    async def __aenter__(self) -> Self:
        for _ in range(CALLS):
            await self._call()
        return self

    async def __aexit__(self, *_: object) -> None:
        for room in self.rooms:
            await self._hang_up(room)

    async def renew(self) -> None:
        for room in self.rooms:
            if len(self._daemon.events("call.recovered", room=room)) >= ENOUGH:
                await self._hang_up(room)
                await self._call()

    async def _call(self) -> None:
        self._called += 1
        room = f"chaos-{self._called}"
        self._on_line[room] = calling(self._server, room)
        await self._on_line[room].__aenter__()
        await answered(self._daemon, room)

    async def _hang_up(self, room: str) -> None:
        await self._on_line.pop(room).__aexit__(None, None, None)


async def settled(daemon: Daemon, rooms: list[str]) -> None:
    deadline = time.monotonic() + START
    while not await asyncio.to_thread(whole, daemon, rooms):
        assert time.monotonic() < deadline, f"not whole again:\n{daemon.tail(40)}"
        assert daemon.process.poll() is None, daemon.errors
        await asyncio.sleep(0.1)


@pytest.mark.skipif(LAUNCHER != "template", reason="half of the victims are the template's")
async def test_the_pool_is_whole_again_after_each_of_many_kills(tmp_path, local):  # noqa: F811
    quick = {"RESTART__BACKOFF_MAX": "1", "RESTART__PARK_AFTER": "1000", "RESTART__HEALTHY_AFTER": "0.1"}
    patient = {"RECOVERY__ATTEMPTS": "10", "RECOVERY__DEADLINE": "30"}
    with supervised(tmp_path, local, workers=WORKERS, **quick, **patient) as daemon:
        await ready(daemon, WORKERS)
        async with Callers(daemon, local.server) as callers:
            await settled(daemon, callers.rooms)
            before, memory = fds(daemon), pss(daemon.process.pid)
            victims = Counter[str]()
            while victims.total() < KILLS:
                await callers.renew()
                kind, template = random.choice(VICTIMS), daemon.status()["supervisor"]["template"]["pid"]
                pid = await asyncio.to_thread(victim, daemon, kind)
                if not pid:
                    continue
                os.kill(pid, signal.SIGKILL)
                await asyncio.to_thread(daemon.until, lambda: noticed(daemon, pid, kind, template))  # noqa: B023
                await settled(daemon, callers.rooms)
                victims[kind] += 1
        await asyncio.to_thread(daemon.until, lambda: len(daemon.status()["workers"]) == WORKERS, 120)
        await settled(daemon, [])
        grown, more = fds(daemon) - before, pss(daemon.process.pid) - memory
        came = len(daemon.events("call.recovered"))
        print(f"killed: {dict(victims)}; {came} recoveries; {dict(grown)} descriptors and {more:.1f} MB more")
        assert grown["anon_inode:[pidfd]"] <= WORKERS, "job servers, kept while a worker uses them"
        assert grown["socket:[N]"] <= SOCKETS
        assert set(grown) <= {"anon_inode:[pidfd]", "socket:[N]"}, dict(grown)
        assert not daemon.events("call.lost")
        assert not daemon.events("supervisor.bug")
        assert await asyncio.to_thread(daemon.terminate, 90) == 0
        assert daemon.left_behind() == []
