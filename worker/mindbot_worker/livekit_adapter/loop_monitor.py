"""LiveKit's monitor of blocked loops, in calls only: see `mindbot_worker.runtime.environment.prepare`."""

from __future__ import annotations

import asyncio
import contextvars
import os

from livekit.agents.telemetry import loop_monitor

from mindbot_worker.livekit_adapter.environment_variables import LOOP_BLOCK_WARN_MS, LOOP_BLOCK_WARN_MS_IN_CALLS


async def begin() -> None:
    """Watch the loop of this job until it ends, as the user or we want it. Called in the job's own task."""
    wanted = os.environ.get(LOOP_BLOCK_WARN_MS_IN_CALLS)
    if wanted is None:
        return
    os.environ[LOOP_BLOCK_WARN_MS] = wanted
    monitor = loop_monitor.start_monitoring(asyncio.get_running_loop(), name="job")
    if monitor is not None:
        # its timer must not run in the context of whichever task began it
        monitor.set_report_context(contextvars.copy_context())
        await asyncio.sleep(0)  # it takes its first look once the loop goes round: before the agent can block it
