"""Switches LiveKit's monitor of blocked event loops on in calls only: see `mindbot_worker.runtime.environment.prepare`.

LiveKit is imported when a call begins: the names of the environment variables are needed before that.
"""

from __future__ import annotations

import asyncio
import contextvars
import os

LOOP_BLOCK_WARN_MS = "LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS"
"""Milliseconds for which a loop may be blocked before LiveKit warns (livekit/agents/telemetry/loop_monitor.py)."""
LOOP_BLOCK_WARN_MS_IN_CALLS = "MINDBOT_LOOP_BLOCK_WARN_MS"
"""The same, for the job processes that are in a call."""


async def begin() -> None:
    """Watch the loop of this job until the job ends. Must be called in the job's own task."""
    wanted = os.environ.get(LOOP_BLOCK_WARN_MS_IN_CALLS)
    if wanted is None:
        return
    from livekit.agents.telemetry import loop_monitor

    os.environ[LOOP_BLOCK_WARN_MS] = wanted
    monitor = loop_monitor.start_monitoring(asyncio.get_running_loop(), name="job")
    if monitor is not None:
        # its timer must not run in the context of whichever task began it
        monitor.set_report_context(contextvars.copy_context())
        await asyncio.sleep(0)  # it takes its first look once the loop goes round: before the agent can block it
