"""A slow leak, for real: `python bench/slow_leak.py [--mb-per-minute 1] [--headroom 80] [--minutes 90]`, an hour or so.

A real livekit-server, MindBot with local providers, a pool of 2. The process of one worker leaks, and two lines keep
calling it, one call after the other; a third one calls whomever it gets, for a short time. The soft limit is what a
worker takes with three calls and no leak (measured first) and the headroom, which should be large beside what calls
differ by (10 to 20 MiB). The worker is to be drained by its slope, before the limit, behind a replacement, with no call
cut. A line a minute tells how far it is; ends with 1 where something was not as it should be. A quick trial, 10
minutes: `--mb-per-minute 20 --headroom 230 --call 40`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

from slow_leak_result import Calls, Found, faults, progress, told

BENCH = Path(__file__).parent
sys.path[:0] = [str(BENCH.parent / name) for name in ("supervisor", "worker", "config", "tests")]

from livekit import rtc  # noqa: E402

from functional.daemon import Daemon  # noqa: E402
from live.caller import Caller, attending, calling, load_phrases  # noqa: E402
from live.livekit import Local, livekit_server_or_exit, running_local  # noqa: E402
from live.supervised import answered, ready, supervised, worker_of  # noqa: E402

WORKERS, LEAKER, SUCCESSOR = 2, "0.1", "0.2"
SHORT, PAUSE = 40.0, 20.0
"""Seconds of a short call, and between two on a line: LiveKit gives a job process 10 s to end, and with those that have
not ended yet a worker would take more than it ever does with the calls that it has."""
TALKS = 0.6
"""Of the headroom; the next call after so much was leaked is one that talks, and lasts until the worker is drained.
Those before it say nothing, to be cheap, and are shorter than `inactivity`."""
HOLD = 60.0
"""Seconds for which the calls go on that the worker has when it is drained."""
BASE = 60.0
"""Seconds with calls after which a worker's memory without a leak is known: one that moves is read every 10 s."""
QUESTION_EVERY = 30.0


@contextlib.asynccontextmanager
async def call(daemon: Daemon, stack: Local, room: str, calls: Calls, *, talks: bool) -> AsyncIterator[Caller | None]:
    """An answered call; the caller who talks, if it does."""
    async with (calling if talks else attending)(stack.server, room) as caller:
        inside = caller if isinstance(caller, rtc.Room) else caller.room
        try:
            await answered(daemon, room)
        except AssertionError:
            calls.unanswered.append(room)

        def left(who: rtc.RemoteParticipant) -> None:
            if who.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
                calls.cut.append(room)

        inside.on("participant_disconnected", left)
        try:
            yield None if isinstance(caller, rtc.Room) else caller
        finally:
            inside.off("participant_disconnected", left)
            calls.served += room not in calls.unanswered


def leaker(daemon: Daemon) -> dict[str, Any]:
    return daemon.worker(LEAKER) or {}


def mb(daemon: Daemon) -> float:
    return float(leaker(daemon).get("pss_mb") or 0.0)


async def short_calls(daemon: Daemon, stack: Local, calls: Calls) -> None:
    """One at a time, to whichever worker takes it."""
    for number in count():
        async with call(daemon, stack, f"short-{number}", calls, talks=False):
            await asyncio.sleep(SHORT)
        await asyncio.sleep(PAUSE)


@dataclass(slots=True)
class Line:
    """Calls the leaking worker, again and again."""

    daemon: Daemon
    stack: Local
    calls: Calls
    name: str
    seconds: float = 0.0
    """Of a call that says nothing."""
    talks_from: float = inf
    """On the monotonic clock; the first call that begins later talks, and is the last one."""
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    """Its calls go on for HOLD seconds more, and there are no further ones."""
    _numbers: Iterator[int] = field(default_factory=count)

    async def run(self) -> None:
        while not self.drained.is_set():
            async with contextlib.AsyncExitStack() as held:
                caller = await self.place(held)
                if caller is not None:
                    await self._talk(caller)
                else:
                    await self._until_drained(self.seconds)
                if self.drained.is_set():
                    await asyncio.sleep(HOLD)
            await asyncio.sleep(PAUSE)

    async def place(self, held: contextlib.AsyncExitStack) -> Caller | None:
        """A call in the worker; those that the other one takes are hung up."""
        while not self.drained.is_set():
            attempt = contextlib.AsyncExitStack()
            room, talks = f"{self.name}-{next(self._numbers)}", time.monotonic() > self.talks_from
            caller = await attempt.enter_async_context(call(self.daemon, self.stack, room, self.calls, talks=talks))
            if (worker_of(self.daemon, room) or {}).get("worker") == LEAKER:
                held.push_async_exit(attempt.pop_all())
                return caller
            await attempt.aclose()
        return None

    async def _talk(self, caller: Caller) -> None:
        """Ask something now and then, and once more when the worker is being drained."""
        while True:
            drained = self.drained.is_set()
            said = await caller.say(next(iter(load_phrases())))
            with contextlib.suppress(TimeoutError):
                answer = await caller.hear(30, since=said)
                if drained:
                    say(f"an answer {answer.started_at - said:.2f} s after a question, while the worker drains")
            if drained:
                return
            await self._until_drained(QUESTION_EVERY)

    async def _until_drained(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.drained.wait(), seconds)


async def base_mb(folder: Path, stack: Local) -> float:
    """What a worker has with three calls, as the leaking one will at most, and without a leak."""
    calls, most = Calls(), 0.0
    os.environ["BENCH_LEAK_WORKER"] = ""
    with pool(folder, stack) as daemon:
        await ready(daemon, WORKERS)
        async with contextlib.AsyncExitStack() as held:
            caller = await Line(daemon, stack, calls, "base-talks", talks_from=0.0).place(held)
            for name in ("base-a", "base-b"):
                await Line(daemon, stack, calls, name).place(held)
            until = time.monotonic() + BASE
            while caller is not None and time.monotonic() < until:
                await caller.say(next(iter(load_phrases())))
                most = max(most, mb(daemon))
                await asyncio.sleep(1)
        await asyncio.to_thread(daemon.terminate, 60)
    return most


def pool(folder: Path, stack: Local, **settings: str) -> Daemon:
    folder.mkdir()
    environment = folder / "env"
    environment.write_text("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE=0\n")
    environment.chmod(0o600)
    flags = ("--agent", "slow_leak_agent:server", "--env-file", str(environment))
    return supervised(folder, stack, *flags, workers=WORKERS, **settings)


async def run(folder: Path, stack: Local, soft_mb: float, options: argparse.Namespace) -> Found:
    calls = Calls()
    os.environ["BENCH_LEAK_WORKER"] = LEAKER
    with pool(folder, stack, LIMITS__MEMORY_SOFT_MB=str(round(soft_mb))) as daemon:
        await ready(daemon, WORKERS)
        began = time.monotonic()
        talks_from = began + TALKS * options.headroom / options.mb_per_minute * 60
        lines = [
            Line(daemon, stack, calls, "long-a", options.call, talks_from),
            Line(daemon, stack, calls, "long-b", options.call),
        ]
        tasks = [asyncio.create_task(line.run()) for line in lines]
        others = asyncio.create_task(short_calls(daemon, stack, calls))
        try:
            drain, at, most = await watch(daemon, calls, soft_mb, began, options.minutes)
            for line in lines:
                line.drained.set()
            await asyncio.gather(*tasks)
        finally:
            for task in (*tasks, others):
                task.cancel()
            await asyncio.gather(*tasks, others, return_exceptions=True)
        lead, verdict = None, ""
        if drain is not None:
            ended = await asyncio.to_thread(lambda: daemon.wait("worker.exited", worker=LEAKER, timeout=120))
            lead, verdict = lead_of(daemon, drain), str(ended["verdict"])
        await asyncio.to_thread(daemon.until, lambda: not daemon.status()["calls"]["active"])
        counts = {key: value for key, value in daemon.status()["calls"].items() if key != "active"}
        await asyncio.to_thread(daemon.terminate, 60)
    return Found(drain, at, most, soft_mb, lead, verdict, calls, counts)


async def watch(
    daemon: Daemon, calls: Calls, soft_mb: float, began: float, minutes: float
) -> tuple[dict[str, Any] | None, float, float]:
    """The record of its drain, when, and the most memory that it had until then."""
    most, next_line = 0.0, began
    while time.monotonic() < began + minutes * 60:
        most = max(most, mb(daemon))
        if drained := daemon.events("worker.draining", worker=LEAKER):
            return drained[0], time.monotonic() - began, most
        if time.monotonic() >= next_line:
            next_line += 60
            say(progress(leaker(daemon), calls, soft_mb, most, time.monotonic() - began))
        await asyncio.sleep(0.5)
    return None, time.monotonic() - began, most


def lead_of(daemon: Daemon, drain: dict[str, Any]) -> float | None:
    """Seconds from the moment when the replacement was ready to the drain."""
    came = daemon.events("worker.ready", worker=SUCCESSOR)
    return moment(drain) - moment(came[0]) if came else None


def moment(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["timestamp"]).timestamp()


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


async def measure(stack: Local, folder: Path, options: argparse.Namespace) -> list[str]:
    base = options.base_mb or await base_mb(folder / "base", stack)
    soft_mb = base + options.headroom
    say(f"a worker without a leak has {base:.0f} MiB with three calls, so the soft limit is {soft_mb:.0f} MiB")
    found = await run(folder / "leak", stack, soft_mb, options)
    for line in told(found):
        say(line)
    return faults(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb-per-minute", type=float, default=1.0, help="MiB (%(default)s)")
    parser.add_argument("--headroom", type=float, default=80.0, help="MiB to the soft limit (%(default)s)")
    parser.add_argument("--minutes", type=float, default=90.0, help="at most (%(default)s)")
    parser.add_argument("--call", type=float, default=240.0, help="seconds of a long call (%(default)s)")
    parser.add_argument("--base-mb", type=float, default=0.0, help="of the worker without a leak; default: measured")
    options = parser.parse_args()
    path = livekit_server_or_exit()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(BENCH), os.environ.get("PYTHONPATH", "")])
    os.environ["BENCH_LEAK_MB_PER_MINUTE"] = str(options.mb_per_minute)
    with running_local(livekit_server=path) as stack, tempfile.TemporaryDirectory() as folder:
        wrong = asyncio.run(measure(stack, Path(folder), options))
    for each in wrong:
        say(f"WRONG: {each}")
    say("as it should be" if not wrong else "failed")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
