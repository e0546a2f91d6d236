"""[worker]: how a single worker process is run and watched."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mindbot_config.sections.base import Section


class Worker(Section):
    """How a single worker process is run and watched."""

    heartbeat: Literal["auto", "required", "optional"] = "auto"
    """Whether a worker must send heartbeats. "required": it is ready when it says so, and hung when it is silent.
    "optional": ready once it has lived for `ready_after`; if it does send heartbeats, they count. "auto": required
    with `pool.agent`, optional with `pool.command`."""
    ready_after: float = Field(default=1.0, ge=0)
    """Seconds that a worker without required heartbeats must live to count as ready."""
    registered: bool = True
    """false: serve without registering at LiveKit, so no real calls come in; for trials and tests."""
    synthetic_interval: float = Field(default=0.0, ge=0)
    """Seconds between synthetic calls in each worker, which prove that it can serve; 0 is none."""
    memory_interval: float = Field(default=60.0, ge=0)
    """Seconds between two log lines about the memory of each worker's own process; 0 is none. With the environment
    variable PYTHONTRACEMALLOC=1 they name the lines of code whose memory has grown most."""
    monitor_performance: bool = True
    """Measure the functions under `monitor_performance` (MindBot's own steps, and those of your agent): a line about
    them at the end of each call, and a warning where one is slow. false: they are left as they are."""
