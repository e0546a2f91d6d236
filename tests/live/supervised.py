"""The real daemon with real MindBot workers, registered with the real livekit-server."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

from functional.daemon import Daemon
from live.caller import Caller, calling
from live.livekit import Local, Server

LAUNCHER = os.environ.get("LAUNCHER", "template")
"""How the tests have workers started; `make live-exec` runs them with the other one."""
START = 120.0
"""Seconds until real workers are ready: each imports LiveKit and its plugins, on machines that are busy."""


def supervised(folder: Path, stack: Local, *arguments: str, workers: int = 4, **settings: str) -> Daemon:
    """The daemon, told to use the stand-ins and the server of `stack`. Settings are MINDBOT_* names without prefix."""
    environ = {
        **stack.server.environment,
        "OPENAI_API_KEY": "sk-local-stand-in-key",
        "DEEPGRAM_API_KEY": "0123456789abcdef0123456789abcdef01234567",
        "MINDBOT_VOICE__OPENAI_BASE_URL": stack.openai_base_url,
        "MINDBOT_VOICE__DEEPGRAM_BASE_URL": stack.deepgram_base_url,
        "MINDBOT_VOICE__TURN_DETECTION": "vad",
        "MINDBOT_POOL__LAUNCHER": LAUNCHER,
        **{f"MINDBOT_{name}": value for name, value in settings.items()},
    }
    return Daemon(folder, "--workers", str(workers), *arguments, environ=environ)


async def wait(daemon: Daemon, event: str | None = None, **fields: Any) -> dict[str, Any]:
    """`daemon.wait` for tests that hold a call meanwhile."""
    return await asyncio.to_thread(lambda: daemon.wait(event, **fields))


async def ready(daemon: Daemon, workers: int) -> None:
    await asyncio.to_thread(daemon.ready, workers, START)


def worker_of(daemon: Daemon, room: str) -> dict[str, Any] | None:
    """The status row of the worker that has the call in this room."""
    rows = daemon.status()["workers"]
    return next((row for row in rows if any(call["room"] == room for call in row["calls"])), None)


async def answered(daemon: Daemon, room: str) -> dict[str, Any]:
    """The row of the worker that took the call in this room, once one has."""
    return await asyncio.to_thread(daemon.until, lambda: worker_of(daemon, room))


async def calls_on(
    daemon: Daemon, server: Server, stack: contextlib.AsyncExitStack, prefix: str, *, workers: int
) -> tuple[dict[str, Caller], dict[str, dict[str, Any]]]:
    """Four callers, or as many more as it takes for so many workers to have a call: LiveKit chooses by chance among
    those with little load. Callers, and the rows of their workers, by room.
    """
    callers: dict[str, Caller] = {}
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < 4 or len({row["worker"] for row in rows.values()}) < workers:
        assert len(rows) < 12, f"{len(rows)} calls, and fewer than {workers} workers have one"
        room = f"{prefix}-{len(rows)}"
        callers[room] = await stack.enter_async_context(calling(server, room))
        rows[room] = await answered(daemon, room)
    return callers, rows
