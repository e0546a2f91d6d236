"""How long a caller is alone when an agent dies: `python bench/recovery.py [ROUNDS]`.

A real livekit-server, MindBot with local providers, 4 workers, one call. In each round the worker, or only the job
process, that has the call is killed (SIGKILL). Measured are the time until livekit-server writes that the new agent is
ACTIVE, and the time until the caller hears it; and, for comparison, how long a dispatch takes on the same machine at
the same time when nothing has died (of which livekit-server itself waits 0.2 s, to hear of better workers:
DefaultAffinityShortCircuit in psrpc), and what happens with recovery off. The same with five calls of one worker. Then
eight calls are moved (`restart all --now`): the gap is the time for which a caller has no agent, from the moment when
the old one has left until the new one is ACTIVE.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("supervisor", "worker", "config", "tests")]

from contest.registrations import Registrations, witness  # noqa: E402

from functional.daemon import Daemon  # noqa: E402
from live.caller import Caller, attending, calling  # noqa: E402
from live.livekit import Local, Server, livekit_server_or_exit, running_local  # noqa: E402
from live.supervised import answered, ready, supervised  # noqa: E402
from mindbot_supervisor.recovery.livekit import LiveKitApi  # noqa: E402
from mindbot_supervisor.recovery.livekit_records import Dispatch  # noqa: E402

ROUNDS = 20
WORKERS = 4
SETTLE = 5.0
"""Seconds of quiet before each kill: the replacement of the last victim has started by then."""
TOGETHER, MOVED = 5, 8
SILENCE = 30.0
"""Seconds for which the caller waits with recovery off."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The providers' stand-ins, and a livekit-server that is read."""

    local: Local
    seen: Registrations

    @property
    def server(self) -> Server:
        return self.local.server


async def active(seen: Registrations, room: str, since: float) -> tuple[float, str]:
    """Seconds until one more participant is ACTIVE there, and its identity. Asking the server would cost agents CPU."""
    async with asyncio.timeout(60):
        while True:
            for at, where, identity in list(seen.actives):
                if where == room and at > since:
                    return at - since, identity
            await asyncio.sleep(0.02)


def victim(row: dict, room: str, kind: str) -> int:
    call = next(call for call in row["calls"] if call["room"] == room)
    return int(row["pid"] if kind == "worker" else call["pid"])


async def greeted(daemon: Daemon, caller: Caller, room: str) -> dict:
    row = await answered(daemon, room)
    await caller.hear(60, since=0)
    await caller.silence(1.5, within=60)
    return row


async def all_active(seen: Registrations, rooms: list[str], since: float) -> list[float]:
    return [seconds for seconds, _ in await asyncio.gather(*(active(seen, room, since) for room in rooms))]


async def one(daemon: Daemon, stack: Stack, api: LiveKitApi, room: str, kind: str) -> tuple[float, ...]:
    """Seconds until the new agent was ACTIVE, until it was heard, and until one more was ACTIVE on a mere request."""
    await ready(daemon, WORKERS)
    async with calling(stack.server, room) as caller:
        row = await greeted(daemon, caller, room)
        await asyncio.sleep(SETTLE)
        killed = time.monotonic()
        os.kill(victim(row, room, kind), signal.SIGKILL)
        came, there = await active(stack.seen, room, killed)
        heard = await caller.hear(60, since=killed, identity=there)
        await caller.silence(1.5, within=60)
        asked = time.monotonic()
        await api.create(room, Dispatch(""), {})
        plain, _ = await active(stack.seen, room, asked)
        return came, heard.started_at - killed, plain


async def measure(stack: Stack, folder: Path, rounds: int) -> None:
    server = stack.server
    api = LiveKitApi(server.url, server.api_key, server.api_secret, 5.0)
    with supervised(folder, stack.local, workers=WORKERS) as daemon:
        for kind in ("worker", "job"):
            found = [await one(daemon, stack, api, f"{kind}-{n}", kind) for n in range(rounds)]
            for what, times in zip(
                ("agent ACTIVE", "first sound", "(no death)"), zip(*found, strict=True), strict=True
            ):
                print(f"{kind} killed -> {what:13} {summary(list(times))}", flush=True)
        told = [record["seconds"] for record in daemon.events("call.recovered")]
        print(f"as the log tells it            {summary(told)}", flush=True)
        daemon.terminate(60)
    await api.close()


async def together(stack: Stack, folder: Path, rounds: int) -> None:
    """TOGETHER calls in one worker, which is killed: the first of the callers listens."""
    server = stack.server
    api = LiveKitApi(server.url, server.api_key, server.api_secret, 5.0)
    came: list[float] = []
    heard: list[float] = []
    plain: list[float] = []
    for number in range(rounds):
        (folder / str(number)).mkdir()
        with supervised(folder / str(number), stack.local, workers=1) as daemon:
            await ready(daemon, 1)
            rooms = [f"five-{number}-{each}" for each in range(TOGETHER)]
            async with contextlib.AsyncExitStack() as callers:
                caller = await callers.enter_async_context(calling(server, rooms[0]))
                for room in rooms[1:]:
                    await callers.enter_async_context(attending(server, room))
                row = [await answered(daemon, room) for room in rooms][-1]
                await asyncio.to_thread(daemon.client, "scale", str(WORKERS))
                await ready(daemon, WORKERS)
                await caller.silence(1.5, within=60)
                await asyncio.sleep(SETTLE)
                killed = time.monotonic()
                os.kill(row["pid"], signal.SIGKILL)
                listening = asyncio.create_task(caller.hear(60, since=killed + 0.1))
                came += await all_active(stack.seen, rooms, killed)
                heard.append((await listening).started_at - killed)
                await caller.silence(1.5, within=60)
                await asyncio.sleep(SETTLE)
                plain += await dispatched(stack.seen, api, rooms)
            daemon.terminate(60)
    await api.close()
    print(f"worker with {TOGETHER} calls killed -> agent ACTIVE  {summary(came)}", flush=True)
    print(f"worker with {TOGETHER} calls killed -> first sound   {summary(heard)}", flush=True)
    print(f"{TOGETHER} dispatches at once (no death)    {summary(plain)}", flush=True)


async def dispatched(seen: Registrations, api: LiveKitApi, rooms: list[str]) -> list[float]:
    """Seconds until each room has one more agent ACTIVE, all asked for in the same moment."""
    asked = time.monotonic()
    await asyncio.gather(*(api.create(room, Dispatch(""), {}) for room in rooms))
    return await all_active(seen, rooms, asked)


async def moved(stack: Stack, folder: Path) -> None:
    """MOVED calls on WORKERS workers, all of which are restarted in a hurry."""
    with supervised(folder, stack.local, workers=WORKERS) as daemon:
        await ready(daemon, WORKERS)
        rooms = [f"move-{number}" for number in range(MOVED)]
        async with contextlib.AsyncExitStack() as callers:
            for room in rooms:
                await callers.enter_async_context(attending(stack.server, room))
                await answered(daemon, room)
            await asyncio.sleep(SETTLE)
            began = time.monotonic()
            await asyncio.to_thread(lambda: daemon.client("restart", "all", "--now", timeout=240))
            await asyncio.to_thread(daemon.until, lambda: len(daemon.events("call.migrated")) >= MOVED, 60)
            took = time.monotonic() - began
        gaps = [record["seconds"] for record in daemon.events("call.migrated")]
        lost = len(daemon.events("call.lost"))
        daemon.terminate(60)
    print(f"{MOVED} calls moved, {lost} lost -> gap      {summary(gaps)}; all of it took {took:.0f} s", flush=True)


async def without(stack: Stack, folder: Path) -> None:
    with supervised(folder, stack.local, workers=WORKERS, RECOVERY__ENABLED="false") as daemon:
        await ready(daemon, WORKERS)
        async with calling(stack.server, "off") as caller:
            row = await greeted(daemon, caller, "off")
            killed = time.monotonic()
            os.kill(victim(row, "off", "worker"), signal.SIGKILL)
            try:
                heard = await caller.hear(SILENCE, since=killed + 1)
                print(f"recovery off: heard after {heard.started_at - killed:.2f} s")
            except TimeoutError:
                print(f"recovery off: the caller heard nothing for {SILENCE:.0f} s, and would hear nothing any more")
        daemon.terminate(60)


def summary(times: list[float]) -> str:
    ordered = sorted(times)
    p95 = ordered[min(round(0.95 * len(ordered)), len(ordered) - 1)]
    return f"median {median(ordered):.2f} s, p95 {p95:.2f} s, max {ordered[-1]:.2f} s (n={len(ordered)})"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    livekit_server_or_exit()
    load = os.getloadavg()
    print(f"{os.cpu_count()} cores, load before: {load[0]:.1f} {load[1]:.1f} {load[2]:.1f}", flush=True)
    with running_local() as providers, witness() as seen, tempfile.TemporaryDirectory() as folder:
        server = Server(*(seen.environ[f"LIVEKIT_{name}"] for name in ("URL", "API_KEY", "API_SECRET")))
        stack = Stack(replace(providers, livekit=server), seen)
        asyncio.run(measure(stack, Path(folder), rounds))
        asyncio.run(together(stack, Path(folder), max(rounds // 4, 2)))
        for name, run in (("moved", moved), ("off", without)):
            (Path(folder) / name).mkdir()
            asyncio.run(run(stack, Path(folder) / name))


if __name__ == "__main__":
    main()
